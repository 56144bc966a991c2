package daemon

import (
	"testing"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/infer"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/enginetest"
)

// An answer that is cut off is handed over as far as it came, and says so.
func TestAskCutOff(t *testing.T) {
	d := newDaemon(t)
	var script enginetest.Script
	e := &enginetest.Engine{Answer: func(engine.Request) enginetest.Script { return script }}
	d.asks = infer.New(d.home, e, infer.Options{})
	t.Cleanup(func() { d.asks.Close() })
	died := &engine.Error{Kind: engine.ErrEngineDied}
	for name, c := range map[string]struct {
		script       enginetest.Script
		state, words string
	}{
		"whole":         {enginetest.Script{Pieces: []string{"An ", "answer."}}, "done", "An answer."},
		"cut off":       {enginetest.Script{Pieces: []string{"An "}, Err: died}, "interrupted", "An "},
		"before a word": {enginetest.Script{Err: died}, "interrupted", ""},
	} {
		script = c.script
		streamed := ""
		r, err := d.ask(t.Context(), control.AskRequest{Question: "Q", Dir: "/"}, control.Talk{Piece: func(s string) { streamed += s }})
		if err != nil || r.State != c.state || r.Answer != c.words || streamed != c.words || r.Note == "" && c.state != "done" {
			t.Errorf("%s: %+v, %v, streamed %q", name, r, err, streamed)
		}
	}
}
