package infer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/infer/conversation"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/sources"
)

// finish ends an answer: its state, why it is not whole, and what was read.
func (j *job) finish(err error, fit fitted, stats engine.Stats) error {
	if cause := context.Cause(j.ctx); cause != nil && err != nil {
		err = cause // says more than what it made of it
	}
	l := conversation.Label{Name: j.author.by}
	var state State
	var notes []string
	switch {
	case err == nil:
		state = Done
		if stats.Reason == engine.Length {
			notes = append(notes, fmt.Sprintf("cut off after %d tokens", stats.AnswerTokens))
		}
	case errors.Is(err, errGone):
		return nil
	case errors.Is(err, errDeleted):
		return j.takeBack(Cancelled)
	case errors.Is(err, errSecond):
		return j.takeBack(Done)
	case errors.Is(err, errChanged):
		l.State, state = conversation.Stopped, Cancelled
		notes = append(notes, "stopped: "+errChanged.Error())
	case errors.Is(err, engine.ErrNoEngine), errors.Is(err, engine.ErrNoModel):
		return j.noModel(err)
	case errors.Is(err, errClosing), errors.Is(err, engine.ErrEngineDied), errors.Is(err, context.Canceled):
		l.State, state = conversation.Interrupted, Interrupted
		how := "interrupted"
		if j.inCode {
			how = interruptedInCode
		}
		notes = append(notes, fmt.Sprintf("%s: %s; `sheaf ask %s` goes on", how, reason(err), j.path))
	default:
		l.State, state = conversation.Failed, Failed
		notes = append(notes, "failed: "+reason(err))
	}
	notes = append(notes, readNotes(fit)...)
	if !j.begun {
		if err := j.tell(conversation.Label{Name: l.Name, State: conversation.Reading}); err != nil {
			return err
		}
	}
	return j.author.write(j.below(notes), &l, j.attrs(state))
}

// below makes notes what stands below the words of an answer.
func (j *job) below(notes []string) string {
	var b strings.Builder
	for i, n := range notes {
		if b.WriteString(j.author.nl); i == 0 && j.said() {
			b.WriteString(j.author.nl)
		}
		b.WriteString(conversation.Note(n))
	}
	s := b.String()
	if !j.said() {
		s = strings.TrimPrefix(s, j.author.nl)
	}
	return s
}

// said tells whether any words of the answer stand before the notes.
func (j *job) said() bool {
	if j.plan.partial != "" {
		return true
	}
	for _, w := range j.author.written {
		if w.words > 0 {
			return true
		}
	}
	return false
}

// takeBack deletes what stands of an answer that is not wanted.
func (j *job) takeBack(s State) error {
	_, _, m, err := j.author.look()
	if err != nil {
		return err
	}
	return j.author.takeBack(m.below, j.attrs(s))
}

// noModel says in the file what to do next, unless it says so already.
func (j *job) noModel(err error) error {
	waits := func(t conversation.Turn) bool {
		return t.Role == conversation.Model && t.Label.State == conversation.Waiting
	}
	if !j.begun && slices.ContainsFunc(j.plan.conv.Turns, waits) {
		return j.w.update(j.attrs(Waiting))
	}
	l := conversation.Label{Name: j.s.author(""), State: conversation.Waiting}
	if err := j.tell(l); err != nil {
		return err
	}
	note := "no model on this device"
	if errors.Is(err, engine.ErrNoModel) {
		note = "no model"
		if m := j.plan.conv.Settings.Model; m != "" {
			note = fmt.Sprintf("no model %q here", m)
		}
	}
	next := "`sheaf model list` shows what there is"
	var e *engine.Error
	if errors.As(err, &e) && e.Hint != "" {
		next = e.Hint
	}
	note += "; " + next + ", then `sheaf ask " + j.path + "`"
	return j.author.write(j.below([]string{note}), &l, j.attrs(Waiting))
}

// reason is an error in the words of a note.
func reason(err error) string {
	s := err.Error()
	var e *engine.Error
	if errors.As(err, &e) {
		if e.Hint != "" {
			s += "; " + e.Hint
		}
	}
	return s
}

// readNotes say what was read and what was not.
func readNotes(fit fitted) []string {
	var notes []string
	if s := strings.Join(readNames(fit.read), ", "); s != "" {
		notes = append(notes, "read "+s)
	}
	if s := strings.Join(leftNames(fit), ", "); s != "" {
		notes = append(notes, "left out "+s)
	}
	return notes
}

func readNames(read []sources.Source) []string {
	var out []string
	for _, s := range read {
		name := s.Name()
		if s.From > 0 && s.To-s.From+1 < s.Lines {
			name += fmt.Sprintf(" of %d lines", s.Lines)
		}
		switch {
		case len(s.Version) > 0:
			name += " (" + s.Version.String() + ")"
		case s.Text == "":
			name += " (empty)"
		}
		out = append(out, name)
	}
	return out
}

func leftNames(fit fitted) []string {
	var out []string
	for _, l := range fit.left {
		out = append(out, l.String())
	}
	switch fit.dropped {
	case 0:
	case 1:
		out = append(out, "the oldest turn (no room)")
	default:
		out = append(out, fmt.Sprintf("the oldest %d turns (no room)", fit.dropped))
	}
	return out
}
