package infer

import (
	"context"
	"errors"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/sources"
)

// Query is a question that stands in no file.
type Query struct {
	Text  string   // may refer to files with @
	Paths []string // more files, as they stand behind an @
	Dir   string   // of the folder, where names are looked up first
	Stdin string   // a text to ask about, empty for none

	Model       string
	System      string
	Temperature *float64
	MaxTokens   int
}

// Question answers a question and hands the answer over as it is made. f is
// where files are looked for, nil for nowhere. The result is filled in as far
// as the answer came, also beside an error.
func (s *Service) Question(ctx context.Context, f *crdt.Folder, q Query, emit func(piece string) error) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })()
	if q.Text == "" {
		return Result{State: Failed}, &crdt.Error{Op: "ask", Kind: ErrNothing, Err: errors.New("there is no question")}
	}
	session, err := s.models.Open(ctx, q.Model)
	if err != nil {
		return Result{State: Failed}, err
	}
	defer session.Close()
	p := prompt{
		settings: conversation.Settings{System: q.System, Temperature: q.Temperature, MaxTokens: q.MaxTokens},
		system:   s.system(), said: []conversation.Said{{Text: q.Text}},
	}
	refs := sources.Refs(q.Text)
	for _, path := range q.Paths {
		refs = append(refs, sources.NewRef(path))
	}
	if f != nil {
		p.sources, p.left, err = sources.Folder{Folder: f, Dir: q.Dir, Documents: s.o.Documents}.Gather(ctx, refs)
	}
	if q.Stdin != "" {
		p.sources = append([]sources.Source{sources.NewSource("stdin", q.Stdin)}, p.sources...)
	}
	var fit fitted
	if err == nil {
		fit, err = p.fit(ctx, session)
	}
	r := Result{State: Failed, Model: session.Info().Name, Read: readNames(fit.read), Left: leftNames(fit)}
	if err != nil {
		return r, err
	}
	r.Stats, err = session.Generate(ctx, fit.request, func(piece string) error {
		r.Answer += piece
		return emit(piece)
	})
	switch {
	case err == nil:
		r.State = Done
	case errors.Is(err, engine.ErrEngineDied):
		r.State = Interrupted
	case ctx.Err() != nil:
		r.State = Cancelled
	}
	return r, err
}

// system is what a model is told first where nobody says otherwise.
func (s *Service) system() string {
	if s.o.System != "" {
		return s.o.System
	}
	return defaultSystem
}
