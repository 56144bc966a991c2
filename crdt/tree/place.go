package tree

import (
	"bytes"
	"cmp"
	"slices"
)

// dir is what a directory has besides other nodes.
type dir struct {
	owners nodesByName        // by own name, the node it belongs to, removed or not
	shared map[string][]*node // names of several nodes: all of them, by placing; the last owns
	losers map[*node]string   // living nodes without their name, and what they are shown as
	splits map[*node][]alt    // shown files with versions beside
	extra  map[string]extra   // shown names that are nobody's own
	taken  map[string]bool    // own names that extra ones had to avoid
	live   int                // shown children
	dirs   int                // of these, directories
	stale  bool               // extra names are to be assigned again

	creates []*stamp // all creations, sorted
	keep    *stamp   // the last placing, whether it had an effect or not
	created int64    // applied at
	logged  bool     // its moves are in the log
	spot    spot     // where the log has it

	list    []Dirent // as ReadDir returned it, nil: never; changed in place by nobody
	changed []string // names to look at again
}

// count notes that a child is shown (1), or is not any more (-1).
func (d *dir) count(n *node, by int) {
	d.live += by
	if n.kind == Dir {
		d.dirs += by
	}
}

// status says whether n is alive, and whether it is shown.
func (t *Tree) status(n *node) (alive, shown bool) {
	removed := n.rare != nil && len(n.rare.removals) > 0
	switch n.kind {
	case Dir:
		alive = !removed || n.dir.live > 0 || n.alive && t.flaw == emptyDirsStay
		return alive, alive
	case File:
		alive = !removed || t.flaw != removalWins && n.file.beyond(n.rare.removals)
		return alive, alive && (n.file.count == 0 || len(n.file.visible()) > 0) && (!removed || n.file.returned(n.rare.removals))
	}
	return !removed, !removed
}

// lift takes n out of its place: nothing of its directory knows it any more. It reports
// whether that was still to do.
func (t *Tree) lift(n *node) bool {
	if n.lifted {
		return false
	}
	t.touch(n)
	t.setLoser(n, false)
	t.setSplit(n, false)
	t.unclaim(n)
	n.lifted = true
	if n.shown {
		n.parent.dir.count(n, -1)
		t.refresh(n.parent)
	}
	return true
}

// put puts a lifted node into the place its fields name.
func (t *Tree) put(n *node) {
	n.lifted = false
	t.claim(n)
	n.alive, n.shown = t.status(n)
	t.setLoser(n, n.alive && n.parent.dir.owners.get(n.name) != n)
	t.setSplit(n, n.split())
	if n.shown {
		n.parent.dir.count(n, 1)
		t.refresh(n.parent)
	}
}

// refresh recomputes the status of n after a change, and that of the directories above it.
func (t *Tree) refresh(n *node) {
	for {
		alive, shown := t.status(n)
		if alive == n.alive && shown == n.shown {
			return
		}
		t.touch(n)
		was := n.shown
		n.alive, n.shown = alive, shown
		if n.lifted {
			return
		}
		p := n.parent
		t.setLoser(n, alive && p.dir.owners.get(n.name) != n)
		t.setSplit(n, n.split())
		switch {
		case shown == was:
			return
		case shown:
			p.dir.count(n, 1)
		default:
			p.dir.count(n, -1)
		}
		n = p
	}
}

// claim makes n one of the nodes of its name.
func (t *Tree) claim(n *node) {
	d := n.parent.dir
	owner := d.owners.get(n.name)
	if owner == nil {
		d.owners.set(n)
		if _, ok := d.extra[n.name]; ok {
			t.rename(n.parent)
		}
		return
	}
	all := d.shared[n.name]
	if all == nil {
		all = []*node{owner}
	}
	i, _ := slices.BinarySearchFunc(all, n, comparePlaces)
	all = slices.Insert(all, i, n)
	if d.shared == nil {
		d.shared = map[string][]*node{}
	}
	d.shared[n.name] = all
	if i == len(all)-1 && t.flaw != firstOwns {
		d.owners.set(n)
		t.setLoser(owner, owner.alive)
	}
}

// unclaim undoes claim.
func (t *Tree) unclaim(n *node) {
	d := n.parent.dir
	all := d.shared[n.name]
	if all == nil {
		d.owners.delete(n.name)
		if d.taken[n.name] {
			t.rename(n.parent)
		}
		return
	}
	i, _ := slices.BinarySearchFunc(all, n, comparePlaces)
	all = slices.Delete(all, i, i+1)
	if len(all) == 1 {
		delete(d.shared, n.name)
	} else {
		d.shared[n.name] = all
	}
	if owner := all[len(all)-1]; d.owners.get(n.name) != owner {
		d.owners.set(owner)
		t.setLoser(owner, false)
	}
}

// comparePlaces orders nodes of one name: the last placed owns it.
func comparePlaces(a, b *node) int {
	return cmp.Or(a.place.compare(b.place), bytes.Compare(a.id[:], b.id[:]))
}

// setLoser says whether n has to be shown under another name than its own.
func (t *Tree) setLoser(n *node, is bool) {
	if n.loser == is {
		return
	}
	if t.flaw != silentNeighbour {
		t.touch(n)
	}
	n.loser = is
	d := n.parent.dir
	if is {
		if d.losers == nil {
			d.losers = map[*node]string{}
		}
		d.losers[n] = ""
	} else {
		delete(d.losers, n)
	}
	t.rename(n.parent)
}

// setSplit says whether n is shown with versions beside it, or that these changed.
func (t *Tree) setSplit(n *node, is bool) {
	if n.kind != File {
		return
	}
	d := n.parent.dir
	_, was := d.splits[n]
	if !is && !was {
		return
	}
	t.touch(n)
	switch {
	case !is:
		delete(d.splits, n)
	case !was:
		if d.splits == nil {
			d.splits = map[*node][]alt{}
		}
		d.splits[n] = nil
	}
	t.rename(n.parent)
}

// rename has the extra names of a directory assigned again at the end of the batch.
func (t *Tree) rename(p *node) {
	if !p.dir.stale {
		p.dir.stale = true
		t.unnamed = append(t.unnamed, p)
	}
}
