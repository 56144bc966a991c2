package daemon

import (
	"context"
	"errors"
	"strings"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/infer"
	"github.com/sheaf-fs/sheaf/infer/document"
	"github.com/sheaf-fs/sheaf/infer/engine"
)

// startAsks answers questions from now on, until the function that it returns was called.
func (d *daemon) startAsks() (end func(), err error) {
	m := models(d.o.Home)
	d.asks = infer.New(d.home, m, infer.Options{Saved: fs.Saved, Blind: fs.Blind, Documents: document.Reader{}, Logger: d.log})
	end = func() {
		if err := errors.Join(d.closeAsks(), m.Close()); err != nil {
			d.log.Warn("end of asking", "err", err)
		}
	}
	if err := d.asks.Start(); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// closeAsks ends the answers. A question that was saved a moment ago is noted first, and
// asked at the next start.
func (d *daemon) closeAsks() error {
	for _, f := range d.home.Folders() {
		if err := d.publish(f); err != nil {
			d.log.Warn("publish before asking ends", "folder", f.Name(), "err", err)
		}
	}
	return d.asks.Close()
}

// answerOf is what reading .sheaf/answer/PATH gives.
func (d *daemon) answerOf(f *crdt.Folder) func(context.Context, string) ([]byte, error) {
	return func(ctx context.Context, path string) ([]byte, error) {
		r, err := d.asks.Wait(ctx, f, path)
		if err != nil || r.Answer == "" {
			return nil, err
		}
		return []byte(strings.TrimSuffix(r.Answer, "\n") + "\n"), nil
	}
}

// ask answers a question that stands in no file.
func (d *daemon) ask(ctx context.Context, r control.AskRequest, t control.Talk) (control.AskReply, error) {
	if len(r.Text) > control.MaxText {
		return control.AskReply{}, control.Errorf(control.Usage, "more than %d KiB to ask about", control.MaxText>>10)
	}
	f, dir, err := d.folderAt(r.Dir)
	switch {
	case err == nil:
		// What was saved a moment ago counts.
		if err := d.publish(f); err != nil {
			return control.AskReply{}, err
		}
	case len(r.Paths) > 0: // @paths name nothing there
		return control.AskReply{}, err
	}
	res, err := d.asks.Question(ctx, f, infer.Query{
		Text: r.Question, Paths: r.Paths, Dir: dir, Stdin: r.Text,
		Model: r.Model, System: r.System, Temperature: r.Temperature, MaxTokens: r.MaxTokens,
	}, func(piece string) error {
		t.Piece(piece)
		return nil
	})
	if err != nil && (res.Answer != "" || errors.Is(err, engine.ErrEngineDied)) && ctx.Err() == nil {
		// What there is of the answer is worth having; its state says the rest.
		res.Note = explain(err).Message
		return reply(res), nil
	}
	return reply(res), err
}

func reply(r infer.Result) control.AskReply {
	return control.AskReply{State: string(r.State), Model: r.Model, Answer: r.Answer, Read: r.Read, LeftOut: r.Left, Note: r.Note}
}

// askFile has a conversation answered where it stands.
func (d *daemon) askFile(ctx context.Context, r control.AskFileRequest, _ func(string)) (control.AskReply, error) {
	none := control.AskReply{}
	if !strings.HasSuffix(r.Path, ".ask") {
		return none, control.Errorf(control.Usage, "%s is no conversation: its name does not end in .ask", r.Path)
	}
	if _, _, err := d.fileAt(r.Path); err != nil {
		return none, err
	}
	f, path, err := d.folderAt(r.Path)
	if err != nil {
		return none, err
	}
	err = d.asks.Ask(ctx, f, path)
	if !r.Wait {
		return control.AskReply{State: string(infer.Answering)}, err
	}
	nothing := errors.Is(err, infer.ErrNothing)
	if err != nil && !nothing && !errors.Is(err, infer.ErrBusy) {
		return none, err
	}
	res, werr := d.asks.Wait(ctx, f, path)
	if werr == nil && nothing && res.State == infer.Idle {
		return none, err
	}
	return reply(res), werr
}
