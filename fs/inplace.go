package fs

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"github.com/sheaf-fs/sheaf/crdt"
)

// Of a text that is changed in place only what is written is in the journal: the rest is in
// memory, and in the folder as the version that the session's record names. What is more than
// a few places, or changes the size in other ways than by writing on, makes it a file as ever
// (session.unpack).

// nearby is how many bytes may lie between two pieces of which the text is made anew in one: more
// than a character, so that one piece makes no other one a text or none.
const nearby = 64

// putInto is the text with what is packed put into it; ok is false where that is no text.
func (s *session) putInto() (b *crdt.Body, ok bool) {
	b = s.under
	x := s.packed.pieces(s.ID)
	for j := len(x); j > 0; { // from the last on: what lies before stays where it is
		i := j - 1
		for i > 0 && x[i].off-x[i-1].end() < nearby {
			i--
		}
		from, to := x[i].off, x[j-1].end()
		middle := make([]byte, to-from)
		s.under.ReadAt(middle, int(from))
		x[i:j].over(middle, from)
		if b, ok = b.Replace(crdt.Ends{Start: int(from), End: b.Len() - int(min(to, s.Into))}, string(middle)); !ok {
			return nil, false
		}
		j = i
	}
	return b, true
}

// goOnFrom records that a session goes on from what was just published of it. Where it fails the
// journal says the same as before: what was put into the old text is in the new one.
func (fs *filesystem) goOnFrom(s *session, c crdt.Holding) error {
	if s.Into == 0 {
		return fs.journal.put(s.record)
	}
	if c.Object != nil || c.Body.Len() == 0 {
		return s.unpack()
	}
	s.under, s.Into = c.Body, int64(c.Body.Len())
	return fs.journal.rebase(s.record)
}

// errAdrift is the error of a session whose text is not what it was.
var errAdrift = errors.New("the version that this was written into is not here any more")

// toFile gives a session of an ended process a file of its own, if its bytes are in the journal,
// and updates the record. It fails with errAdrift where those are all that can be told.
func (fs *filesystem) toFile(r *record) error {
	var under *crdt.Body
	if r.Into > 0 {
		c, err := fs.folder.HoldingAt(r.Node, r.Base)
		if err != nil {
			return fmt.Errorf("%w: %w", errAdrift, err)
		}
		if under = c.Body; c.Object != nil || int64(under.Len()) != r.Into {
			return errAdrift
		}
	}
	err := fs.journal.toFile(*r, under)
	if err == nil {
		r.Into = 0
	}
	return err
}

// recoverAdrift sets aside what was written into a version that is not here any more, such as
// one that a loss of power took: at its offsets in what the file is now.
func (fs *filesystem) recoverAdrift(r record) error {
	if len(fs.journal.pieces(r.ID)) == 0 {
		return nil
	}
	now, err := fs.folder.Holding(r.Node)
	if err != nil {
		now = crdt.Holding{}
	}
	fd, err := fs.journal.writeFile(r, now.Body, math.MaxInt64)
	if fd >= 0 {
		defer syscall.Close(fd)
	}
	if err == nil {
		err = syscall.Fdatasync(fd)
	}
	if err != nil {
		return err
	}
	return fs.setAside(&session{record: r}, "what was written here was for a version that is not in the folder any more, so it was put into a copy of the file as it is now")
}
