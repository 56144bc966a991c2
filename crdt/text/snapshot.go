package text

// snapshots are texts of critical events, so that an old version can be made without replaying all that came before.
type snapshots struct {
	kept    []snapshot
	spacing int32      // events between two
	recent  []snapshot // at most two, close to the end: most of who is behind is so by a few events
}

type snapshot struct {
	event int32
	text  *rope
}

var snapshotSpacing int32 = 128 // at first; tests make it small

const (
	snapshotCount = 16
	snapshotBytes = 8 << 20 // of all together, or twice the text where that is more
	recentBytes   = 1 << 20 // of a text that has recent ones
)

// update follows the engine, after an event was added.
func (s *snapshots) update(g *engine) {
	newest := int32(-1)
	if k := len(g.critical); k > 0 {
		newest = g.critical[k-1]
	}
	for k := len(s.kept); k > 0 && s.kept[k-1].event > newest; k-- {
		s.kept = s.kept[:k-1]
	}
	s.updateRecent(g, newest)
	if s.spacing == 0 {
		s.spacing = snapshotSpacing
	}
	last := int32(-1)
	if k := len(s.kept); k > 0 {
		last = s.kept[k-1].event
	}
	if newest != int32(len(g.nodes)-1) || newest-last < s.spacing {
		return
	}
	s.kept = append(s.kept, snapshot{newest, g.text.clone()})
	size := 0
	for _, x := range s.kept {
		size += x.text.bytes
	}
	if len(s.kept) > snapshotCount || len(s.kept) > 1 && size > max(snapshotBytes, 2*g.text.bytes) {
		// Every other one goes; those to come are as far apart as those that stay.
		half := s.kept[:0]
		for i := 1; i < len(s.kept); i += 2 {
			half = append(half, s.kept[i])
		}
		clear(s.kept[len(half):])
		s.kept = half
		s.spacing *= 2
	}
}

// updateRecent is update for those close to the end.
func (s *snapshots) updateRecent(g *engine, newest int32) {
	last := int32(-1)
	for k := len(s.recent); k > 0 && s.recent[k-1].event > newest; k-- {
		s.recent = s.recent[:k-1]
	}
	if k := len(s.recent); k > 0 {
		last = s.recent[k-1].event
	}
	if g.text.bytes > recentBytes {
		s.recent = nil
		return
	}
	if newest != int32(len(g.nodes)-1) || newest-last < snapshotSpacing/2 {
		return
	}
	if len(s.recent) == 2 {
		s.recent[0] = s.recent[1]
		s.recent = s.recent[:1]
	}
	s.recent = append(s.recent, snapshot{newest, g.text.clone()})
}

// before gives the latest snapshot at or before a critical event's number, and a text to go on from.
func (s *snapshots) before(e int32) (int32, *rope) {
	for _, list := range [][]snapshot{s.recent, s.kept} { // of recent ones the last kept one may be newer, by little
		for k := len(list) - 1; k >= 0; k-- {
			if list[k].event <= e {
				return list[k].event, list[k].text.clone()
			}
		}
	}
	return -1, newRope("")
}
