package crdt

import (
	"slices"
	"time"
)

// gather is what the entry in the making is for, while a program's changes gather in it.
type gather struct {
	mark  markOp
	until time.Time
}

// Gather has what is changed here from now on go into one entry, an action of its own with a
// label for people, until EndGather or for limit. What another device sends meanwhile, or more
// than an entry holds, divides it: the parts have one id, and so are undone as one. One that is
// under way ends.
func (f *Folder) Gather(id ActionID, label string, limit time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if err := f.sealLocked(); err != nil {
		return err
	}
	f.gather = &gather{markOp{ID: id, Label: labelOf(label)}, time.Now().Add(limit)}
	return nil
}

// EndGather seals what gathered, under the label that is right by now.
func (f *Folder) EndGather(label string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gather == nil {
		return nil
	}
	f.gather.mark.Label = labelOf(label)
	err := f.sealLocked()
	f.gather = nil
	f.home.flush.poke() // it is to be durable, too
	return err
}

// gathering reports whether the entry in the making waits for more.
func (f *Folder) gathering() bool {
	return f.gather != nil && f.broken == nil && time.Now().Before(f.gather.until)
}

// sealSoon is sealLocked for who can wait until what gathers is together.
func (f *Folder) sealSoon() error {
	if f.gathering() {
		return nil
	}
	return f.sealLocked()
}

// markGathered says in the entry in the making which action it is.
func (f *Folder) markGathered() error {
	if f.gather == nil || slices.ContainsFunc(f.pending.ops, func(o op) bool { return o.Mark != nil }) {
		return nil
	}
	mark := f.gather.mark
	_, _, err := f.pend(nil, op{Mark: &mark}, 0, false)
	return err
}
