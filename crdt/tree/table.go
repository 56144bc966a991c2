package tree

import (
	"hash/maphash"
	"iter"
)

// table finds nodes by a key that they carry themselves, which a map would hold a second
// time: a folder has a hundred thousand nodes and two tables of them. It probes linearly; the
// zero table is empty.
type table[K comparable, F finder[K]] struct {
	slots []*node // a power of two of them, at most three quarters used
	used  int
}

// finder says what a table's keys are.
type finder[K comparable] interface {
	hash(k K) uint64
	key(n *node) K
}

type (
	nodesByID   = table[NodeID, idOf]
	nodesByName = table[string, nameOf]

	idOf   struct{}
	nameOf struct{}
)

// Others choose the ids and names: a seed of our own keeps them from choosing collisions.
var tableSeed = maphash.MakeSeed()

func (idOf) key(n *node) NodeID   { return n.id }
func (idOf) hash(k NodeID) uint64 { return maphash.Bytes(tableSeed, k[:]) }

func (nameOf) key(n *node) string   { return n.name }
func (nameOf) hash(k string) uint64 { return maphash.String(tableSeed, k) }

func (t *table[K, F]) len() int { return t.used }

// slot returns where k is, or the free slot where it would go. There are slots.
func (t *table[K, F]) slot(k K) int {
	var f F
	mask := len(t.slots) - 1
	i := int(f.hash(k)) & mask
	for t.slots[i] != nil && f.key(t.slots[i]) != k {
		i = (i + 1) & mask
	}
	return i
}

// get returns the node of k, nil if there is none.
func (t *table[K, F]) get(k K) *node {
	if t.used == 0 {
		return nil
	}
	return t.slots[t.slot(k)]
}

// set makes n the node of its key.
func (t *table[K, F]) set(n *node) {
	var f F
	if 4*(t.used+1) > 3*len(t.slots) {
		old := t.slots
		t.slots = make([]*node, max(4, 2*len(old)))
		for _, o := range old {
			if o != nil {
				t.slots[t.slot(f.key(o))] = o
			}
		}
	}
	i := t.slot(f.key(n))
	if t.slots[i] == nil {
		t.used++
	}
	t.slots[i] = n
}

// delete removes the node of k, if there is one. What stands behind it moves up, so that no
// probe meets a gap.
func (t *table[K, F]) delete(k K) {
	if t.used == 0 {
		return
	}
	var f F
	mask := len(t.slots) - 1
	gap := t.slot(k)
	if t.slots[gap] == nil {
		return
	}
	t.used--
	for i := (gap + 1) & mask; t.slots[i] != nil; i = (i + 1) & mask {
		// It may move if the gap is not before its home.
		if home := int(f.hash(f.key(t.slots[i]))) & mask; (i-home)&mask >= (i-gap)&mask {
			t.slots[gap], gap = t.slots[i], i
		}
	}
	t.slots[gap] = nil
}

// all yields the nodes in no order. The table must not change meanwhile.
func (t *table[K, F]) all() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for _, n := range t.slots {
			if n != nil && !yield(n) {
				return
			}
		}
	}
}
