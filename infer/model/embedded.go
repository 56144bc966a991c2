package model

import (
	"github.com/sheaf-fs/sheaf/infer/engine/llama"
)

// Engine returns the embedded engine with what the store has, now and later.
func (s *Store) Engine(o llama.Options) *llama.Engine {
	o.Library, o.Models = s.Library, s.models
	return llama.New(o)
}

// models lists what is here, the chosen one first.
func (s *Store) models() ([]llama.Model, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var out []llama.Model
	for _, e := range list {
		if e.Kind != Model || !e.Here {
			continue
		}
		m := llama.Model{Name: e.ID, Path: e.Path, Description: e.Title, Size: e.Size}
		if e.Own {
			m.Description = e.Description
		}
		if e.Chosen {
			out = append([]llama.Model{m}, out...)
		} else {
			out = append(out, m)
		}
	}
	return out, nil
}
