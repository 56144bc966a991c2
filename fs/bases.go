package fs

import (
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// base is the version that a save is merged from.
type base struct {
	version crdt.Version
	note    note // what status says of it
}

// note is what status says of a save from which somebody may miss something.
type note struct{ kind, text string }

var (
	replaced = note{"replaced", "written anew by a program that had not read it; the old text is in its history"}
	guessed  = note{"guessed", "written by a program that had not read it, and taken for a change of an older version: what came since was kept, so look whether that is right"}
	emptied  = note{"emptied", "emptied by a program; the old text is in its history"}
	resolved = note{"resolved", "saved by a program that was run on it and a version shown beside it, which is in its history now"}
	cutShort = note{"cut-short", "the program that wrote it was killed before it was done; the old text is in its history"}
)

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
func (fs *filesystem) base(node crdt.NodeID, s *session, c crdt.Holding) base {
	b := fs.hadRead(node, s, c)
	// Who has read the same bytes knows the version that has them now: one by which another
	// device has chosen between two, or a text that came to what it was. From the older version
	// the change that was undone since could not be made again: it would be the same change.
	now, err := fs.folder.Holding(node)
	if err != nil || now.Version.Equal(b.version) || (now.Object == nil) != (c.Object == nil) {
		return b
	}
	was, err := fs.folder.HoldingAt(node, b.version)
	if err == nil && now.Same(was) {
		b.version = now.Version
	}
	return b
}

// knownBeside is what is shown beside the file and the writer of a session was run to make one
// of: its command line names both, and it has read both and nothing else of the folder. What it
// saves takes the place of both. Others have read both, too: who indexes the folder, who formats
// all of it, and who compares two pictures and then goes on with one of them.
func (fs *filesystem) knownBeside(node crdt.NodeID, s *session) (known crdt.Version) {
	info, err := fs.folder.Get(node)
	if err != nil || !info.Beside {
		return nil
	}
	fs.resolver.flush()
	w := s.writer.wait()
	if w == nil {
		return nil
	}
	besides := fs.reads.besides(w.process, node, s.begun)
	if len(besides) == 0 || len(until(fs.reads.of(w.process, node), s.begun)) == 0 {
		return nil
	}
	args := w.arguments()
	if !named(args, info.Name) {
		return nil
	}
	for _, v := range besides {
		if beside, err := fs.folder.GetAt(node, v); err == nil && named(args, beside.Name) {
			known = append(known, v...)
		}
	}
	return known
}

// named tells whether an argument is a path to a file of this name.
func named(args []string, name string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return a == name || strings.HasSuffix(a, "/"+name) || strings.HasSuffix(a, "="+name)
	})
}

func (fs *filesystem) hadRead(node crdt.NodeID, s *session, c crdt.Holding) base {
	begun := base{version: s.Base}
	if !s.rewritten() {
		return begun // these bytes were changed in place
	}
	fs.resolver.flush()
	w := s.writer.wait()
	if w == nil {
		return fs.infer(node, s, nil, c)
	}
	if own := until(fs.reads.of(w.process, node), s.begun); len(own) > 0 && !w.copies() {
		if v, ok := fs.overtaken(w.process, w, own, node, s.begun); ok {
			return base{version: v}
		}
		return base{version: fs.choose(node, own, s, c)}
	}
	// Others of its job have read the file: what one of them had may have come to the writer.
	var job []reading
	for _, p := range w.ancestors {
		if r := until(fs.reads.of(p, node), s.begun); len(r) > 0 {
			if v, ok := fs.overtaken(p, w, r, node, s.begun); ok {
				return base{version: v}
			}
			job = append(job, r...)
			if c.Object == nil {
				continue // a text shows itself what it was made from
			}
			if last, ok := fs.reads.lastSave(p, w.group, node, s.begun); ok {
				job = append(job, last)
			}
			break
		}
	}
	job = append(job, until(fs.reads.ofGroup(w.group, node), s.begun)...)
	return fs.infer(node, s, job, c)
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

// asksAnew tells whether a process overwrites a conversation of which it knows only the
// question that it wrote itself: as on any disk, what stood below goes with it, and is
// in the history. Merged, the new question would stand above the old one's answer.
func (fs *filesystem) asksAnew(node crdt.NodeID, s *session) bool {
	if !s.Truncated || s.Object || !strings.HasSuffix(fs.folder.Path(node), ".ask") {
		return false
	}
	w := s.writer.wait()
	if w == nil {
		return false
	}
	known := until(fs.reads.of(w.process, node), s.begun)
	for _, r := range known {
		if !r.saved || r.informed {
			return false
		}
	}
	return len(known) > 0
}

// until leaves out what was read after a time.
func until(list []reading, t time.Time) []reading {
	for len(list) > 0 && list[len(list)-1].at.After(t) {
		list = list[:len(list)-1]
	}
	return list
}

// choose takes the latest of what the writer has read, unless that was read a moment
// before the save and something earlier is at least as near to what was saved. Of bytes
// that are no text nobody can tell, and the earlier one is taken.
func (fs *filesystem) choose(node crdt.NodeID, list []reading, s *session, saved crdt.Holding) crdt.Version {
	last := list[len(list)-1]
	begun := s.begun
	if !s.created.IsZero() {
		begun = s.created
	}
	if len(list) == 1 || last.saved || begun.Sub(last.at) > reread {
		return last.version
	}
	earlier := list[len(list)-2]
	a, errA := fs.folder.HoldingAt(node, earlier.version)
	b, errB := fs.folder.HoldingAt(node, last.version)
	if errA == nil && errB == nil && a.Same(b) {
		// The same change from the earlier one may have been made before, and undone since.
		return last.version
	}
	if errA != nil || errB != nil || a.Object != nil || b.Object != nil || saved.Object != nil ||
		distance(a.Body, saved.Body) <= distance(b.Body, saved.Body) {
		return earlier.version
	}
	return last.version
}

// infer looks for the base of who has not read the file by content: among the versions
// that its job had, those that anybody was given lately, and the one at hand when the
// session began. It takes the nearest, and of those as near the oldest.
func (fs *filesystem) infer(node crdt.NodeID, s *session, job []reading, c crdt.Holding) base {
	byTime := func(a, b reading) int { return a.at.Compare(b.at) }
	var known crdt.Version // what its job had last
	if slices.SortStableFunc(job, byTime); len(job) > 0 {
		known = job[len(job)-1].version
	}
	at, saved := base{version: s.Base}, c.Body
	begun, err := fs.folder.HoldingAt(node, s.Base)
	if c.Object != nil || err == nil && begun.Object != nil {
		if known != nil {
			at.version = known
		}
		return at
	}
	if err != nil || begun.Body.Len() == 0 || saved.Len() > maxInferred {
		return at
	}
	served := until(fs.reads.served(node), s.begun)
	if len(served) > maxCandidates {
		served = served[len(served)-maxCandidates:]
	}
	candidates := append(slices.Clone(job), served...)
	slices.SortStableFunc(candidates, byTime)
	best, nearest := begun.Body, distance(begun.Body, saved)
	seen := []crdt.Version{s.Base}
	for _, r := range slices.Backward(candidates) {
		if slices.ContainsFunc(seen, r.version.Equal) {
			continue
		}
		seen = append(seen, r.version)
		c, err := fs.folder.HoldingAt(node, r.version)
		if err != nil || c.Object != nil {
			continue
		}
		if c.Body.Equal(saved) {
			// Somebody brings an old version back, as git checkout does: of what came since,
			// only what its job did not know of stays.
			if known != nil {
				at.version = known
			} else {
				at.version = s.Base
			}
			return at
		}
		if d := distance(c.Body, saved); d <= nearest {
			best, nearest, at.version = c.Body, d, r.version
		}
	}
	if !kin(best.String(), saved.String()) {
		return base{version: s.Base, note: replaced}
	}
	if !at.version.Equal(s.Base) && !at.version.Equal(known) {
		at.note = guessed
	}
	return at
}

// distance is how many bytes two texts have in lines that the other has not.
func distance(x, y *crdt.Body) int {
	a, b := x.Apart(y)
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
