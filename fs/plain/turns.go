package plain

import (
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs/turns"
)

// takeTurns takes up who changed what, before it is shown or answered.
func (d *Dir) takeTurns(m marks) {
	for _, c := range m.turns {
		d.turns.See(d.folder, c)
	}
	if len(m.turns) == 0 && !m.sweep || d.sweeping && !m.sweep {
		return
	}
	if d.sweeping = d.turns.Sweep(); d.sweeping {
		time.AfterFunc(turns.Within, func() { d.mark(func(m *marks) { m.sweep = true }) })
	}
}

// hold tells whether a change has to wait, because programs here and elsewhere rewrite the
// file by turns. The file itself is what watchers hear of here, so it is the file that waits.
// Who asks for everything (Flush) gets it.
func (s *shower) hold(e *entry) bool {
	delay := s.d.turns.Delay(e.Node)
	if delay == 0 || s.atOnce {
		return false
	}
	if e.held.IsZero() {
		e.held = time.Now().Add(delay)
	}
	wait := time.Until(e.held)
	if wait > 0 {
		s.again(e, wait)
	}
	return wait > 0
}

// Notes lists what a person should know of as long as it lasts: files that programs on
// several devices rewrite by turns.
func (d *Dir) Notes() []crdt.Note { return d.turns.Notes(d.folder) }
