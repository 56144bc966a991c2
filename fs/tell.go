package fs

import (
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs/turns"
)

// turned takes up the contents that a notice is about.
func (fs *filesystem) turned(n crdt.Notice) {
	c, ok := fs.turns.Of(n)
	if !ok {
		return
	}
	fs.queue.put(func() {
		fs.turns.See(fs.folder, c)
		if !fs.sweeping {
			fs.sweepTurns()
		}
	})
}

// sweepTurns sweeps, again and again while something is left. It runs on the queue.
func (fs *filesystem) sweepTurns() {
	if fs.sweeping = fs.turns.Sweep(); fs.sweeping {
		fs.later(turns.Within, fs.sweepTurns)
	}
}

// tell makes watchers hear of new content, later if devices rewrite the file by turns.
func (fs *filesystem) tell(node crdt.NodeID) {
	d, waiting := fs.turns.Wait(node)
	switch {
	case waiting:
	case d > 0:
		fs.later(d, func() {
			if fs.turns.Due(node) {
				fs.touchPoke(node)
			}
		})
	default:
		fs.touchPoke(node)
	}
}

// Notes lists what a person should know of as long as it lasts: files that programs on
// several devices rewrite by turns.
func (s *Server) Notes() []crdt.Note { return s.fs.turns.Notes(s.fs.folder) }
