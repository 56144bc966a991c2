package crdt

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ActionID names an action: what one device did in one go.
type ActionID [16]byte

// NewActionID returns an id that nobody has used.
func NewActionID() (id ActionID) {
	rand.Read(id[:])
	return id
}

// String returns the id in hexadecimal.
func (id ActionID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes the id in hexadecimal.
func (id ActionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// IsZero reports whether id names no action.
func (id ActionID) IsZero() bool { return id == ActionID{} }

const maxLabel = 200 // bytes

// Label makes the whole Update part of one action with a name for people, such as "git commit
// 1a2b3c4 on main". Updates of one id are one action, which is undone as one. It must come
// before the Update's first change, and costs an entry of its own.
func (tx *Tx) Label(id ActionID, label string) error { return tx.mark(markOp{ID: id, Label: label}) }

func (tx *Tx) mark(m markOp) error {
	if tx.ops > 0 || m.ID.IsZero() {
		return fail("label", m.Label, ErrInvalid, errors.New("it has to come first, and have an id"))
	}
	if err := tx.f.sealLocked(); err != nil {
		return err
	}
	m.Label = labelOf(m.Label)
	tx.label = &m
	return nil
}

// labelOf makes a label one that can be shown.
func labelOf(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	return clip(s, maxLabel)
}

// mark is what an entry says of itself.
func (d *dated) mark() *markOp {
	i := slices.IndexFunc(d.Ops, func(o recorded) bool { return o.Raw != nil && o.Raw.Mark != nil })
	if i < 0 {
		return nil
	}
	return d.Ops[i].Raw.Mark
}
