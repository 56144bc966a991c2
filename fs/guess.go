package fs

import (
	"slices"
	"strings"
	"sync"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Many programs save a file by writing another one beside it and renaming that over it. If the
// file is long, what is written is compared with it while it is written, as in a file that is
// written anew (track.go): at the rename only what differs is left to look at. Which file it is
// going to be is a guess. One that is wrong costs a few searches, and changes nothing else.

// lately remembers which long texts were given to whom, or saved by whom, last.
type lately struct {
	mu   sync.Mutex
	list []lateText // the latest last
}

type lateText struct {
	node crdt.NodeID
	who  *caller
}

const (
	latelyMost = 32
	guessMiss  = 8 // searches in vain before a guess is given up
)

func (l *lately) note(node crdt.NodeID, who *caller) {
	if who == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(t lateText) bool { return t.node == node && t.who.tid == who.tid })
	if len(l.list) >= latelyMost {
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, lateText{node, who})
}

func (l *lately) all() []lateText {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// guess begins a track of a new file that becomes long with what is written at off, from its
// beginning on. The caller holds in.mu.
func (fs *filesystem) guess(in *inode, s *session, off, n int64) {
	if s.guessed || in.bound || in.parent == nil || s.size > shortText || s.size+n <= shortText ||
		s.covered != s.size || off >= 0 && off != s.size {
		return
	}
	s.guessed = true
	node, ok := fs.likely(in.parent.node, in.name, s.writer)
	if !ok {
		return
	}
	c, err := fs.folder.Holding(node)
	if err != nil || c.Object != nil {
		return
	}
	t := tracked(c.Body, false)
	if t == nil {
		return
	}
	t.missed = mostMiss - guessMiss
	before := make([]byte, s.size)
	if k, err := s.readAt(before, 0); err == nil && k == len(before) && t.wrote(before, 0) {
		s.track = t
	}
}

// likely is the long text that a new file of this name in a directory may be to replace: one that
// its writer's job has read or saved, whose name is in the new one if there is such, else the last.
func (fs *filesystem) likely(dir crdt.NodeID, name string, who *caller) (node crdt.NodeID, ok bool) {
	for _, t := range slices.Backward(fs.lately.all()) {
		info, err := fs.folder.Get(t.node)
		if err != nil || info.Parent != dir || !t.who.related(who) {
			continue
		}
		if strings.Contains(name, info.Name) {
			return t.node, true
		}
		if !ok {
			node, ok = t.node, true
		}
	}
	return node, ok
}
