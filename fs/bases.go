package fs

import (
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// base is the version that a save is merged from.
type base struct {
	version  crdt.Version
	replaced bool // nothing says that the writer had read any version
}

const (
	// reread: a read so shortly before the save may be the making of a backup,
	// not the reading that the person's changes were made on.
	reread = time.Second
	// maxInferred is the longest text for which a base is looked for by content.
	maxInferred = 4 << 20
	// maxCandidates bounds how many versions are compared.
	maxCandidates = 8
)

// base finds what the writer of a session had read. Where that is uncertain it
// prefers the older version: a doubled line is seen, a deleted one is not.
func (fs *filesystem) base(node crdt.NodeID, s *session, c crdt.NewContent) base {
	begun := base{version: s.Base}
	if !s.Truncated || c.Object != nil || s.Object {
		return begun // these bytes were changed in place
	}
	fs.resolver.flush()
	w := s.writer.wait()
	if w == nil {
		return fs.infer(node, s, c.Text)
	}
	if own := until(fs.reads.of(w.process, node), s.begun); len(own) > 0 {
		if v, ok := fs.overtaken(w.process, w, own, node, s.begun); ok {
			return base{version: v}
		}
		return base{version: fs.choose(node, own, s.begun, c.Text, true)}
	}
	for _, p := range w.ancestors {
		if r := until(fs.reads.of(p, node), s.begun); len(r) > 0 {
			if v, ok := fs.overtaken(p, w, r, node, s.begun); ok {
				return base{version: v}
			}
			return base{version: fs.choose(node, r, s.begun, c.Text, false)}
		}
	}
	if r := until(fs.reads.ofGroup(w.group, node), s.begun); len(r) > 0 {
		return base{version: fs.choose(node, r, s.begun, c.Text, false)}
	}
	return fs.infer(node, s, c.Text)
}

// overtaken finds the version that replaced what a process p knows of a file only from
// having written it, as a shell or script does: one that a program of the same job saved
// since. Who then writes the file blindly means to replace that one too, as on any disk;
// an editor, which has read the file, does not.
func (fs *filesystem) overtaken(p process, w *caller, known []reading, node crdt.NodeID, begun time.Time) (crdt.Version, bool) {
	for _, r := range known {
		if !r.saved || r.informed {
			return nil, false
		}
	}
	last, ok := fs.reads.lastSave(p, w.group, node, begun)
	if !ok || !last.at.After(known[len(known)-1].at) {
		return nil, false
	}
	return last.version, true
}

// until leaves out what was read after a time.
func until(list []reading, t time.Time) []reading {
	for len(list) > 0 && list[len(list)-1].at.After(t) {
		list = list[:len(list)-1]
	}
	return list
}

// choose takes the latest reading, unless it was made a moment before the save
// and an earlier one is at least as near to what was saved. own says that the writer
// read by itself: who writes what others had read before brings an old version back,
// while an editor may save a buffer that nobody touched.
func (fs *filesystem) choose(node crdt.NodeID, list []reading, begun time.Time, saved string, own bool) crdt.Version {
	last := list[len(list)-1]
	if len(list) == 1 || last.saved || begun.Sub(last.at) > reread {
		return last.version
	}
	earlier := list[len(list)-2]
	a, errA := fs.folder.ContentAt(node, earlier.version)
	b, errB := fs.folder.ContentAt(node, last.version)
	if errA == nil && !own && a.Text == saved {
		return last.version
	}
	if errA == nil && errB == nil && a.Text == b.Text {
		// The same change from the earlier one may have been made before, and undone since.
		return last.version
	}
	if errA != nil || errB != nil || distance(a.Text, saved) <= distance(b.Text, saved) {
		return earlier.version
	}
	return last.version
}

// infer looks for the base by content, among the versions that anybody was
// given and the one at hand when the session began.
func (fs *filesystem) infer(node crdt.NodeID, s *session, saved string) base {
	at := base{version: s.Base}
	begun, err := fs.folder.ContentAt(node, s.Base)
	if err != nil || begun.Object != nil || begun.Text == "" || len(saved) > maxInferred {
		return at
	}
	served := until(fs.reads.served(node), s.begun)
	if len(served) > maxCandidates {
		served = served[len(served)-maxCandidates:]
	}
	best, nearest := begun.Text, distance(begun.Text, saved)
	for i := len(served) - 1; i >= 0; i-- {
		if served[i].version.Equal(s.Base) {
			continue
		}
		c, err := fs.folder.ContentAt(node, served[i].version)
		if err != nil || c.Object != nil {
			continue
		}
		if c.Text == saved {
			// Somebody brings an old version back, as git checkout does.
			return base{version: s.Base}
		}
		if d := distance(c.Text, saved); d < nearest {
			best, nearest, at.version = c.Text, d, served[i].version
		}
	}
	if !kin(best, saved) {
		return base{version: s.Base, replaced: true}
	}
	return at
}

// distance is how many bytes two texts have in lines that the other has not.
func distance(a, b string) int {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]++
	}
	d := 0
	for line := range strings.Lines(b) {
		if count[line] > 0 {
			count[line]--
		} else {
			d += len(line)
		}
	}
	for line, n := range count {
		d += n * len(line)
	}
	return d
}

// kin tells whether half the lines of the longer text are in the other.
func kin(a, b string) bool {
	count := map[string]int{}
	na, nb, shared := 0, 0, 0
	for line := range strings.Lines(a) {
		count[line]++
		na++
	}
	for line := range strings.Lines(b) {
		nb++
		if count[line] > 0 {
			count[line]--
			shared++
		}
	}
	return 2*shared >= max(na, nb)
}
