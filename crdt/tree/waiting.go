package tree

// Need is what an operation waits for: a node, or an event of a node.
type Need struct {
	Node  NodeID
	Event EventID // zero: the node itself
}

// Limits of what waits in memory. Those who follow the format make nothing that waits: what an
// operation builds on has been applied before it. Others could have it wait for ever.
const (
	MaxWaiting      = 4096    // operations
	MaxWaitingBytes = 4 << 20 // of what is in them
)

// Shelf is where operations wait that are too many for memory. It is called from within Apply.
type Shelf interface {
	// Put keeps an operation until something arrives. It may keep nothing of s.
	Put(Need, *Stamped)
	// Arrived is told of every node and event once it is there, and returns what was put there
	// for it, in any order. It may return operations that were applied before.
	Arrived(Need) []*Stamped
}

// waiting is operations that wait; the zero value has none. Without a shelf there is no limit.
type waiting struct {
	ops   map[Need][]*Stamped
	count int
	bytes int
	most  int // of count, if it is not MaxWaiting
	shelf Shelf
}

// SetShelf gives the tree a shelf, before anything is applied. most is how many operations wait
// in memory; 0 is MaxWaiting.
func (t *Tree) SetShelf(s Shelf, most int) { t.waiting.shelf, t.waiting.most = s, most }

// Waiting is how many operations wait in memory.
func (t *Tree) Waiting() int { return t.waiting.count }

func (w *waiting) put(it Need, s *Stamped) {
	size := s.Op.size()
	most := w.most
	if most == 0 {
		most = MaxWaiting
	}
	if w.shelf != nil && (w.count >= most || w.bytes+size > MaxWaitingBytes) {
		w.shelf.Put(it, s)
		return
	}
	if w.ops == nil {
		w.ops = map[Need][]*Stamped{}
	}
	kept := *s
	w.ops[it] = append(w.ops[it], &kept)
	w.count, w.bytes = w.count+1, w.bytes+size
}

// take returns what waited for it.
func (w *waiting) take(it Need) []*Stamped {
	var out []*Stamped
	if w.count > 0 {
		out = w.ops[it]
		delete(w.ops, it)
		for _, s := range out {
			w.count, w.bytes = w.count-1, w.bytes-s.Op.size()
		}
	}
	if w.shelf != nil {
		out = append(out, w.shelf.Arrived(it)...)
	}
	return out
}

// arrived queues what waited for it.
func (t *Tree) arrived(it Need) { t.queue = append(t.queue, t.waiting.take(it)...) }

// size is about how many bytes of memory an operation takes.
func (op *Op) size() int {
	return 512 + len(op.Name) + len(op.Target) + len(op.Key) + len(op.Value) + len(op.By) + len(EventID{})*(len(op.Seen)+len(op.Parents))
}
