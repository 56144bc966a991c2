package enginetest

import (
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

func TestScriptedConforms(t *testing.T) {
	e := &Engine{Answer: func(r engine.Request) Script {
		return Script{Pieces: strings.SplitAfter(strings.Repeat(r.Turns[0].Text, 10), " "), Wait: time.Millisecond, Gap: time.Millisecond}
	}}
	Conform(t, func(t *testing.T) engine.Session {
		s, err := e.Open(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
