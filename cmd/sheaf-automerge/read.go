//go:build cgo

package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	lib "github.com/automerge/automerge-go"

	"github.com/sheaf-fs/sheaf/cmd/internal/automerge"
)

// The key of a text that is taken where none is named: sheaf's own.
const usualKey = "content"

// historyTime is how long the steps of a document may take; beyond it there are none.
const historyTime = 10 * time.Second

var read = func(q automerge.Query) automerge.Answer {
	a, err := answer(q)
	if err != nil {
		return automerge.Answer{Refused: oneLine(err)}
	}
	return a
}

func answer(q automerge.Query) (automerge.Answer, error) {
	d, err := lib.Load(q.Document)
	if err != nil {
		return automerge.Answer{}, err
	}
	texts, err := textsOf(d)
	if err != nil {
		return automerge.Answer{}, err
	}
	var a automerge.Answer
	for k := range texts {
		a.Keys = append(a.Keys, k)
	}
	slices.Sort(a.Keys)
	if len(a.Keys) > automerge.MaxKeys {
		return automerge.Answer{}, errors.New("too many texts in it")
	}
	a.Key = q.Key
	if _, ok := texts[usualKey]; a.Key == "" && ok {
		a.Key = usualKey
	}
	if a.Key == "" && len(a.Keys) == 1 {
		a.Key = a.Keys[0]
	}
	if _, ok := texts[a.Key]; !ok {
		a.Key = ""
		return a, nil
	}
	a.Text = texts[a.Key]
	if q.History {
		a.Steps = steps(d, a.Key)
	}
	return a, nil
}

// textsOf are the texts and strings at the root of a document.
func textsOf(d *lib.Doc) (map[string]string, error) {
	values, err := d.RootMap().Values()
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for k, v := range values {
		switch v.Kind() {
		case lib.KindText:
			if texts[k], err = v.Text().Get(); err != nil {
				return nil, err
			}
		case lib.KindStr:
			texts[k] = v.Str()
		}
	}
	return texts, nil
}

// steps are the text as each change left it, none if that is more than is carried over.
func steps(d *lib.Doc, key string) []automerge.Step {
	changes, err := d.Changes()
	if err != nil || len(changes) > automerge.MaxSteps {
		return nil
	}
	began, size := time.Now(), 0
	number := map[lib.ChangeHash]int{}
	out := make([]automerge.Step, len(changes))
	for i, c := range changes {
		then, err := d.Fork(c.Hash())
		if err != nil || time.Since(began) > historyTime {
			return nil
		}
		texts, err := textsOf(then)
		if err != nil {
			return nil
		}
		out[i].Text = texts[key]
		if size += len(texts[key]); size > automerge.MaxHistory {
			return nil
		}
		for _, dep := range c.Dependencies() {
			n, ok := number[dep]
			if !ok {
				return nil
			}
			out[i].After = append(out[i].After, n)
		}
		number[c.Hash()] = i
	}
	return out
}

func oneLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ToValidUTF8(s[:min(len(s), 300)], "")
}
