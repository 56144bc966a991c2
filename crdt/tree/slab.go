package tree

import "strings"

// slab allocates values that live as long as the tree, many at a time: a value alone takes
// the room of its size class, and the collector's time.
type slab[T any] struct{ free []T }

func (s *slab[T]) new() *T {
	if len(s.free) == 0 {
		s.free = make([]T, 64)
	}
	v := &s.free[0]
	s.free = s.free[1:]
	return v
}

// arena keeps strings that live as long as the tree, one behind the other.
type arena struct{ b strings.Builder }

const arenaSize = 8 << 10

func (a *arena) keep(s string) string {
	if a.b.Cap()-a.b.Len() < len(s) {
		a.b = strings.Builder{}
		a.b.Grow(max(arenaSize, len(s)))
	}
	at := a.b.Len()
	a.b.WriteString(s)
	return a.b.String()[at:]
}
