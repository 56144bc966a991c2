package tree

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// step is one thing a device does. What its numbers choose depends on what the device knows.
type step struct{ Who, What, A, B, C int }

// scenario is what some devices do, apart and together, and an order in which others hear it.
type scenario struct {
	Steps []step
	Seed  uint64
}

var scenarios = rapid.Custom(func(t *rapid.T) scenario {
	// Drawn from lists, because rapid prefers small numbers to others.
	who, what, number := rapid.SampledFrom(upTo(4)), rapid.SampledFrom(upTo(28)), rapid.SampledFrom(upTo(1000))
	n := rapid.SampledFrom(upTo(100)).Draw(t, "n")
	return scenario{
		Steps: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				who.Draw(t, "who"), what.Draw(t, "what"),
				number.Draw(t, "a"), number.Draw(t, "b"), number.Draw(t, "c"),
			}
		}), n, 120).Draw(t, "steps"),
		Seed: rapid.Uint64().Draw(t, "seed"),
	}
})

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Names are few, so that they meet; some are what a suffix would make of others.
var someNames = []string{"a", "b", "c.txt", "d", "a (" + short(1) + ")", "c (" + short(2) + ").txt", "c (" + short(1) + " 2023-11-15).txt"}

// world is the devices of a scenario.
type world struct {
	devices []*author
	all     []Stamped
}

func play(sc scenario) *world {
	w := &world{}
	for i := range 4 {
		w.devices = append(w.devices, newAuthor(byte(i+1)))
	}
	for _, st := range sc.Steps {
		a := w.devices[st.Who]
		before := len(a.own)
		w.step(a, st)
		w.all = append(w.all, a.own[before:]...)
	}
	return w
}

func (w *world) step(a *author, st step) {
	name := someNames[st.C%len(someNames)]
	dir := pick(a.nodes(Dir), st.B)
	content := fmt.Sprintf("%d", st.C%3)
	if st.C%4 == 0 {
		content = "#" + content
	}
	known := pick(a.nodes(File, Dir, Symlink), st.A) // removed ones, too
	file := pick(a.nodes(File), st.A)
	some := known
	if shown := a.shown(); len(shown) > 0 {
		some = pick(shown, st.A)
	}
	switch st.What {
	case 0, 1, 2:
		a.mkdir(dir, name)
	case 3, 4, 5:
		a.create(dir, name, content)
	case 6:
		id, gen := a.tree.FreshID(Symlink, dir, name, []byte(content))
		a.do(Op{Do: OpCreate, Node: id, Kind: Symlink, Parent: dir, Name: name, Target: content, Gen: gen})
	case 7, 8, 9, 10:
		if file != Root {
			a.save(file, content)
		}
	case 11: // resolves versions that stand side by side
		if file != Root {
			v := a.tree.Get(file).Version
			for _, alt := range a.tree.Get(file).Alts {
				v = a.tree.Join(file, v, alt.Version)
			}
			a.write(file, v, content)
		}
	case 12, 13, 14, 15:
		a.move(some, dir, name)
	case 16, 17, 18:
		a.remove(some)
	case 19:
		for _, id := range slices.Backward(a.below(some)) {
			a.remove(id)
		}
	case 20: // brings back
		if known != Root {
			i := a.tree.Get(known)
			a.move(known, i.Parent, i.Name)
		}
	case 21:
		a.do(Op{Do: OpMode, Node: known, Mode: uint32(st.C)})
	case 22:
		a.do(Op{Do: OpMtime, Node: known, Mtime: int64(st.C)})
	case 23:
		a.do(Op{Do: OpXattr, Node: known, Key: "k" + content, Value: []byte(name), Delete: st.B%3 == 0})
	case 24, 25, 26:
		a.hearFrom(w.devices[st.A%len(w.devices)], st.B)
	case 27:
		w.lie(a, st, known, dir, name)
	}
}

// lie makes an operation that no honest device makes.
func (w *world) lie(a *author, st step, known, dir NodeID, name string) {
	a.lamport = max(1, a.lamport-uint64(min(int(a.lamport), st.B%20))) // before what it builds on
	switch st.C % 6 {
	case 0:
		a.do(Op{Do: OpPlace, Node: known, Parent: pick(a.nodes(File, Dir), st.B), Name: name})
	case 1:
		a.do(Op{Do: OpPlace, Node: known, Parent: dir, Name: []string{"", ".", "..", "a/b", "\x00"}[st.B%5]})
	case 2: // a directory that others may make later
		id := NodeIDFor(Dir, dir, name, nil, uint32(st.B%3))
		a.do(Op{Do: OpPlace, Node: known, Parent: id, Name: name})
	case 3:
		id := NodeIDFor(Dir, dir, name, nil, 1)
		a.do(Op{Do: OpCreate, Node: id, Kind: Dir, Parent: dir, Name: name, Gen: 1})
	case 4:
		a.do(Op{Do: OpRemove, Node: known})
	case 5:
		a.do(Op{Do: OpCreate, Node: known, Kind: Dir, Parent: dir, Name: name})
	}
}

func pick(ids []NodeID, i int) NodeID { return ids[i%len(ids)] }

// nodes lists what the device knows of these kinds, and the root.
func (a *author) nodes(kinds ...Kind) []NodeID {
	out := []NodeID{Root}
	for n := range a.tree.nodes.all() {
		id := n.id
		if id != Root && slices.Contains(kinds, n.kind) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out[1:], func(a, b NodeID) int { return slices.Compare(a[:], b[:]) })
	return out
}

func (a *author) shown() (out []NodeID) {
	a.tree.Walk(func(_ string, e Dirent) bool {
		out = append(out, e.Node)
		return true
	})
	return out
}

// below lists a node and what is shown below it, parents first.
func (a *author) below(id NodeID) []NodeID {
	out := []NodeID{id}
	for _, e := range a.tree.ReadDir(id) {
		if !e.Alt {
			out = append(out, a.below(e.Node)...)
		}
	}
	return out
}

// hearFrom has a hear the first part of what b knows, in b's order.
func (a *author) hearFrom(b *author, part int) {
	known := map[Stamp]bool{}
	for _, s := range a.done {
		known[s.Stamp] = true
	}
	var news []Stamped
	for _, s := range b.done {
		if !known[s.Stamp] {
			news = append(news, s)
		}
	}
	if part%2 == 0 && len(news) > 0 {
		news = news[:part%len(news)+1]
	}
	a.hear(news...)
	a.done = append(a.done, news...)
}

// check plays a scenario to replicas in different orders and holds each against the oracle.
func check(sc scenario, wrong flaw) error {
	w := play(sc)
	rng := rand.New(rand.NewPCG(sc.Seed, 1))
	here := map[feed.Hash]bool{}
	for i := range 3 {
		here[hashOf(fmt.Sprintf("#%d", i))] = rng.IntN(3) > 0
	}
	have := func(h feed.Hash) bool { return here[h] }
	want := newOracle(w.all, have)

	for range 4 {
		r := newReplica(wrong, have)
		for ops := shuffle(w.all, rng); len(ops) > 0; {
			n := 1 + rng.IntN(min(len(ops), 1+rng.IntN(20)))
			if err := r.hear(ops[:n]); err != nil {
				return err
			}
			ops = ops[n:]
		}
		if err := differ(dump(r.tree), want.dump()); err != nil {
			return err
		}
		if err := r.saved(w.all); err != nil {
			return err
		}
		// What comes later is as if it had always been there.
		for h, ok := range here {
			if !ok {
				if err := r.changed(r.tree.ObjectReady(h, 1)); err != nil {
					return err
				}
			}
		}
		all := newOracle(w.all, func(feed.Hash) bool { return true })
		if err := differ(dump(r.tree), all.dump()); err != nil {
			return fmt.Errorf("with all objects: %w", err)
		}
	}
	return nil
}

// differ tells the lines that only one of two dumps has.
func differ(got, want string) error {
	if got == want {
		return nil
	}
	has, wants := strings.Split(got, "\n"), strings.Split(want, "\n")
	has = slices.DeleteFunc(has, func(l string) bool { return slices.Contains(wants, l) })
	wants = slices.DeleteFunc(wants, func(l string) bool { return strings.Contains(got, l) })
	return fmt.Errorf("got:\n%s\nwant:\n%s", strings.Join(has, "\n"), strings.Join(wants, "\n"))
}

// shuffle returns the operations in one of three orders: as made, with each feed in order, or
// any; some of them twice.
func shuffle(all []Stamped, rng *rand.Rand) []Stamped {
	ops := slices.Clone(all)
	switch rng.IntN(3) {
	case 0:
		byFeed := map[feed.ID][]Stamped{}
		for _, s := range ops {
			byFeed[s.Stamp.Feed] = append(byFeed[s.Stamp.Feed], s)
		}
		rng.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
		for i, s := range ops {
			f := s.Stamp.Feed
			ops[i], byFeed[f] = byFeed[f][0], byFeed[f][1:]
		}
	case 1:
		rng.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
	}
	for range len(ops) / 10 {
		ops = slices.Insert(ops, rng.IntN(len(ops)), ops[rng.IntN(len(ops))])
	}
	return ops
}

// replica is a tree, and what follows from the changes it reported.
type replica struct {
	tree     *Tree
	names    map[Place]Change
	versions map[NodeID]Version
}

func newReplica(wrong flaw, have func(feed.Hash) bool) *replica {
	r := &replica{tree: New(), names: map[Place]Change{}, versions: map[NodeID]Version{}}
	r.tree.flaw = wrong
	r.tree.SetReady(have)
	return r
}

func (r *replica) hear(ops []Stamped) error { return r.changed(r.tree.Apply(ops)) }

// changed replays changes onto the names and compares.
func (r *replica) changed(changes []Change) error {
	for _, c := range changes {
		if !c.Before.Visible {
			continue
		}
		old, ok := r.names[c.Before]
		if !ok || old.Node != c.Node || old.Alt != c.Alt {
			return fmt.Errorf("change %+v: before it, %+v stood there", c, old)
		}
	}
	for _, c := range changes {
		delete(r.names, c.Before)
	}
	versions := maps.Clone(r.versions)
	for _, c := range changes {
		if c.What == 0 && !c.Created {
			return fmt.Errorf("change %+v of nothing", c)
		}
		if (c.Before != c.After) != (c.What&Placed != 0) {
			return fmt.Errorf("change %+v: placed or not?", c)
		}
		if c.After.Visible {
			if old, ok := r.names[c.After]; ok {
				return fmt.Errorf("change %+v: %+v stands there", c, old)
			}
			r.names[c.After] = c
		}
		if c.What&Content != 0 && !c.Alt {
			v := r.tree.Get(c.Node).Version
			if v.Equal(versions[c.Node]) {
				return fmt.Errorf("change %+v: the version is as before", c)
			}
			versions[c.Node] = v
		}
	}
	r.versions = versions
	return r.same()
}

// same holds what changes told against what the tree says.
func (r *replica) same() error {
	if err := r.sound(); err != nil {
		return err
	}
	shown := map[NodeID]bool{Root: true}
	count := 0
	var err error
	r.tree.Walk(func(path string, e Dirent) bool {
		count++
		dir := Root
		if p := r.tree.nodes.get(e.Node).parent; p != nil {
			dir = p.id
		}
		c, ok := r.names[Place{Dir: dir, Name: e.Name, Visible: true}]
		if !ok || c.Node != e.Node || c.Alt != e.Alt {
			err = fmt.Errorf("%s is shown, changes told of %+v", path, c)
		}
		if shown[e.Node] && !e.Alt {
			err = fmt.Errorf("%s is shown twice", path)
		}
		if !e.Alt {
			shown[e.Node] = true
			if got := r.tree.Path(e.Node); got != path {
				err = fmt.Errorf("%s has the path %s", path, got)
			}
			if got, e2 := r.tree.Resolve(path); e2 != nil || got != e.Node {
				err = fmt.Errorf("%s resolves to %v, %v", path, got, e2)
			}
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	if count != len(r.names) {
		return fmt.Errorf("%d names are shown, changes told of %d", count, len(r.names))
	}
	for n := range r.tree.nodes.all() {
		id := n.id
		if n.shown != shown[id] {
			return fmt.Errorf("%v: shown %v, found %v", id, n.shown, shown[id])
		}
		if v := r.tree.Get(id).Version; !v.Equal(r.versions[id]) {
			return fmt.Errorf("%v: version %v, changes told of %v", id, v, r.versions[id])
		}
	}
	return nil
}

// sound checks that the tree is one, before anything walks it.
func (r *replica) sound() error {
	for n := range r.tree.nodes.all() {
		steps := 0
		for a := n; a != nil; a = a.parent {
			if steps++; steps > r.tree.nodes.len() {
				return errors.New("a directory is below itself")
			}
		}
		if n.lifted || n.mark != 0 {
			return errors.New("a node is left in the middle of a batch")
		}
	}
	return nil
}

// saved checks the promise: a file with content that no removal named is shown.
func (r *replica) saved(all []Stamped) error {
	for n := range r.tree.nodes.all() {
		id := n.id
		if n.kind != File || len(n.file.visible()) == 0 {
			continue
		}
		for _, h := range n.file.tops() {
			seen := slices.ContainsFunc(all, func(s Stamped) bool {
				return s.Op.Do == OpRemove && s.Op.Node == id && s.Op.Seen.Has(h.id)
			})
			if !seen && !h.absent && !n.shown {
				return fmt.Errorf("%v: nobody who removed it had seen %v, and it is gone", id, h.id)
			}
		}
	}
	return nil
}

func TestAnyOrderIsTheSameTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := check(scenarios.Draw(t, "scenario"), noFlaw); err != nil {
			t.Fatal(err)
		}
	})
}

// The test above finds each mistake that it is meant to find.
func TestMistakesAreFound(t *testing.T) {
	for wrong := noFlaw + 1; wrong < numFlaws; wrong++ {
		found := false
		for seed := 0; seed < 400 && !found; seed++ {
			found = check(scenarios.Example(seed), wrong) != nil
		}
		if !found {
			t.Errorf("mistake %d is not found", wrong)
		}
	}
}
