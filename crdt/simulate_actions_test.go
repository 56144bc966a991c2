package crdt_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// action is one thing that happens. All that is left to chance in it follows from Seed, and
// from what the devices know by then.
type action struct {
	Do   string
	Seed uint64
}

func (a action) String() string { return fmt.Sprintf("%s %d", a.Do, a.Seed) }

// chances says how often each action happens.
var chances = map[string]int{
	"create": 8, "mkdir": 4, "move directory": 5, "move file": 4, "remove file": 3, "remove directory": 2,
	"chmod": 3, "open": 5, "save": 14, "save twice": 2, "append": 4, "replace by rename": 2, "symlink": 1,
	"object": 4, "same change": 3, "same directory": 2, "restore": 2, "undo": 2, "choose": 2,
	"deliver": 24, "apart": 3, "reopen": 2, "kill": 3, "power loss": 5, "fsync": 2, "back up": 2, "restore home": 1,
	"poison": 4, "join": 2, "note checkpoint": 2, "update": 1,
}

// plan draws n actions.
func plan(seed uint64, n int) []action {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var bag []string
	for do, chance := range chances {
		bag = append(bag, slices.Repeat([]string{do}, chance)...)
	}
	slices.Sort(bag)
	out := make([]action, n)
	for i := range out {
		out[i] = action{bag[rnd.IntN(len(bag))], rnd.Uint64()}
	}
	return out
}

func (w *world) do(act action) {
	w.rnd = rand.New(rand.NewPCG(act.Seed, 2))
	a := w.devices[w.rnd.IntN(len(w.devices))]
	b := w.devices[w.rnd.IntN(len(w.devices))]
	switch act.Do {
	case "deliver":
		if a != b && !w.apart(a, b) {
			w.pass(a, b, 1+w.rnd.IntN(8))
			w.say(a, "delivers to %s", b.name())
		}
	case "apart":
		w.parts = 0
		if w.rnd.IntN(2) == 0 {
			w.parts = w.rnd.Uint64()
		}
		w.say(a, "apart: %b", w.parts&(1<<len(w.devices)-1))
	case "reopen":
		w.say(a, "is opened again")
		w.reopen(a)
	case "kill":
		w.say(a, "is killed")
		w.kill(a)
	case "power loss":
		w.say(a, "loses power while it")
		w.losePower(a, func() { w.underPower(a, b) })
	case "fsync":
		if err := a.f.Sync(); err != nil {
			w.Fatal(err)
		}
		w.synced(a)
		w.say(a, "syncs")
	case "back up":
		w.backUp(a)
		w.say(a, "is backed up")
	case "restore home":
		if a.backup != nil && a != b && !b.f.Unconfirmed() { // one that was only shown a checkpoint wants no other objects yet
			w.say(a, "is an older copy again, %s has the rest", b.name())
			w.restore(a, b)
		}
	case "note checkpoint":
		w.noteCheckpoint(a)
	case "update":
		w.update(a)
	case "poison":
		w.mallory.act(w, a)
	case "join":
		if len(w.devices) < 5 && a.f.Admitted(a.home.Device()) && !a.f.Unconfirmed() { // it may have lost that with its power
			n := w.add()
			a.invite(n.device)
			n.watch()
			w.synced(a)
			w.say(a, "invites %s", n.name())
			w.arrive(a, n)
		}
	default:
		w.person(act.Do, a)
	}
}

// underPower is what a device does while it loses power.
func (w *world) underPower(a, b *actor) {
	switch w.rnd.IntN(5) {
	case 0:
		if a != b {
			w.say(a, "receives from %s", b.name())
			w.pass(b, a, 1+w.rnd.IntN(8))
		}
	case 1:
		w.say(a, "is opened again")
		w.reopen(a)
	case 2:
		w.say(a, "syncs")
		if err := a.f.Sync(); err != nil {
			w.Fatal(err)
		}
	default:
		for _, do := range []string{"save", "create", "append", "object", "move file"}[w.rnd.IntN(4):] {
			w.person(do, a)
		}
	}
}

func (w *world) token(a *actor) string {
	s := fmt.Sprintf("t%dx", len(w.tokens))
	w.tokens = append(w.tokens, s)
	a.typed = append(a.typed, s)
	return s
}

// untyped takes back the tokens of an action that failed.
func (w *world) untyped(a *actor, n int) {
	w.tokens = w.tokens[:len(w.tokens)-n]
	a.typed = a.typed[:len(a.typed)-n]
}

var tokenForm = regexp.MustCompile(`t\d+x`)

// take notes which tokens somebody who saw them takes away.
func (w *world) take(s string) {
	for _, tok := range tokenForm.FindAllString(s, -1) {
		w.taken[tok] = true
	}
}

// mayReturn says that these tokens may be shown though they were deleted.
func (w *world) mayReturn(toks ...string) {
	for _, tok := range toks {
		w.back[tok] = true
	}
}

// anyMayReturn says so of all that was typed by now.
func (w *world) anyMayReturn() { w.mayReturn(w.tokens...) }

// edit is what a person does to a text: a new line somewhere, or a line gone.
func (w *world) edit(a *actor, s string) string {
	ls := strings.SplitAfter(s, "\n")
	i := w.rnd.IntN(len(ls))
	if w.rnd.IntN(4) == 0 && len(ls) > 1 {
		w.take(ls[i])
		a.erased = append(a.erased, tokenForm.FindAllString(ls[i], -1)...)
		ls = append(ls[:i:i], ls[i+1:]...)
	}
	i = w.rnd.IntN(len(ls))
	// Lines that share no words: else one replaced by another is an edit inside it.
	tok := w.token(a)
	line := tok + strings.NewReplacer("#", tok).Replace(" é# 漢# a😀b#\n")
	return strings.Join(ls[:i], "") + line + strings.Join(ls[i:], "")
}

// open is what a person's editor has of a file: its buffer, stale or not.
func (w *world) open(a *actor, n crdt.Info) (crdt.Content, bool) {
	if c, ok := a.read[n.Node]; ok {
		return c, true
	}
	c, err := a.f.Content(n.Node)
	if err != nil {
		w.Fatal(err)
	}
	return c, c.Object == nil
}

// pick returns a random node of a kind; ok is false if there is none.
func (w *world) pick(a *actor, kind crdt.Kind) (crdt.Info, bool) {
	all := slices.DeleteFunc(w.list(a, kind), func(i crdt.Info) bool { return i.Alt })
	if len(all) == 0 {
		return crdt.Info{}, false
	}
	return all[w.rnd.IntN(len(all))], true
}

// person has the person at a device do one thing.
func (w *world) person(do string, a *actor) {
	if !a.f.Admitted(a.home.Device()) || a.f.Unconfirmed() {
		return
	}
	name := fmt.Sprintf("n%d", w.rnd.IntN(6))
	dir, _ := w.pick(a, crdt.Dir)
	n, ok := w.pick(a, crdt.File)
	switch do {
	case "create":
		text := ""
		if w.rnd.IntN(3) > 0 {
			text = w.token(a) + " first\n"
		}
		update := a.f.Update
		if text != "" && w.rnd.IntN(4) == 0 { // imported, and long enough to be read from its entry
			update, text = a.f.Bulk, text+strings.Repeat("and on\n", 80)
		}
		err := update(func(tx *crdt.Tx) error {
			_, _, err := tx.Create(dir.Node, name, 0o644, crdt.NewContent{Text: text})
			return err
		})
		if err != nil && text != "" {
			w.untyped(a, 1)
		}
		w.told(a, err, "creates %s %.20q", name, text)
		return
	case "mkdir":
		w.told(a, a.f.Update(func(tx *crdt.Tx) error { _, err := tx.Mkdir(dir.Node, name, 0o755); return err }), "makes directory %s", name)
		return
	case "symlink":
		w.told(a, a.f.Update(func(tx *crdt.Tx) error { _, err := tx.Symlink(dir.Node, name, "n0/n1"); return err }), "makes link %s", name)
		return
	case "move directory":
		if n, ok := w.pick(a, crdt.Dir); ok && n.Node != crdt.Root {
			w.told(a, a.f.Update(func(tx *crdt.Tx) error { return tx.Move(n.Node, dir.Node, name) }), "moves directory %s to %s", n.Name, name)
		}
		return
	case "remove directory":
		if n, ok := w.pick(a, crdt.Dir); ok && n.Node != crdt.Root {
			w.told(a, w.removeAll(a, n), "removes directory %s", n.Name)
		}
		return
	case "same change", "same directory":
		w.everyone(do, name)
		return
	case "restore":
		w.bringBack(a)
		return
	case "undo":
		before := w.showing(a)
		u, err := a.f.Undo("", w.rnd.IntN(3) == 0)
		after := w.showing(a)
		w.vanished(before, after)
		w.anyMayReturn()
		w.told(a, err, "undoes %s", u.Action.Label)
		return
	}
	if !ok {
		return
	}
	switch do {
	case "move file":
		w.told(a, a.f.Update(func(tx *crdt.Tx) error { return tx.Move(n.Node, dir.Node, name) }), "moves file %s to %s", n.Name, name)
	case "remove file":
		w.take(w.bytes(a, n.Node, n.Version))
		w.told(a, a.f.Update(func(tx *crdt.Tx) error { return tx.Remove(n.Node) }), "removes %s", n.Name)
	case "chmod":
		a.update(func(tx *crdt.Tx) error { return tx.SetMode(n.Node, uint32(0o600+w.rnd.IntN(64))) })
	case "open":
		if c, err := a.f.Content(n.Node); err == nil && c.Object == nil {
			a.read[n.Node] = c
		}
	case "save", "save twice":
		for range 1 + len(do)/8 {
			w.save(a, n)
		}
	case "append":
		if n.Object == nil {
			line := w.token(a) + " appended\n"
			a.update(func(tx *crdt.Tx) error { _, err := tx.Append(n.Node, []byte(line)); return err })
			w.say(a, "appends %q to %s", line, n.Name)
		}
	case "object":
		tok := w.token(a)
		o := a.keep("\x00" + tok)
		w.replace(a, n, crdt.NewContent{Object: o})
		w.anyMayReturn()
		w.say(a, "makes %s an object with %s", n.Name, tok)
	case "replace by rename":
		m, _ := w.pick(a, crdt.File)
		c, err := a.f.Content(m.Node)
		if err != nil || m.Node == n.Node {
			return
		}
		w.take(w.bytes(a, n.Node, n.Version))
		w.take(w.bytes(a, m.Node, m.Version))
		a.update(func(tx *crdt.Tx) error {
			if _, err := tx.Write(n.Node, n.Version, crdt.NewContent{Text: c.Text, Object: c.Object}); err != nil {
				return err
			}
			return tx.Remove(m.Node)
		})
		w.anyMayReturn()
		w.say(a, "renames %s over %s", m.Name, n.Name)
	case "choose":
		w.choose(a)
	}
}

// save saves what the person's editor has of a file, with a change.
func (w *world) save(a *actor, n crdt.Info) {
	c, ok := w.open(a, n)
	if !ok {
		return
	}
	text := w.edit(a, c.Text)
	a.update(func(tx *crdt.Tx) (err error) {
		c.Version, err = tx.Write(n.Node, c.Version, crdt.NewContent{Text: text})
		return err
	})
	c.Text = text
	a.read[n.Node] = c
	w.say(a, "saves %s with %s", n.Name, w.tokens[len(w.tokens)-1])
}

// replace gives a file content that has nothing of what it held.
func (w *world) replace(a *actor, n crdt.Info, c crdt.NewContent) {
	w.take(w.bytes(a, n.Node, n.Version))
	a.update(func(tx *crdt.Tx) error { _, err := tx.Write(n.Node, n.Version, c); return err })
	delete(a.read, n.Node)
}

// removeAll removes a directory and what is in it, as rm -r does.
func (w *world) removeAll(a *actor, n crdt.Info) error {
	below := []crdt.Info{n}
	for i := 0; i < len(below); i++ {
		if below[i].Kind != crdt.Dir {
			w.take(w.bytes(a, below[i].Node, below[i].Version))
			continue
		}
		is, err := a.f.ReadDir(below[i].Node)
		if err != nil {
			return err
		}
		below = append(below, slices.DeleteFunc(is, func(i crdt.Info) bool { return i.Alt })...)
	}
	return a.f.Update(func(tx *crdt.Tx) error {
		for _, i := range slices.Backward(below) {
			if err := tx.Remove(i.Node); err != nil {
				return err
			}
		}
		return nil
	})
}

// everyone has all devices do the same, whatever they have heard of each other.
func (w *world) everyone(do, name string) {
	tok := w.token(w.devices[0])
	w.unsure[tok] = true // whether anybody could do it is not followed
	w.mayReturn(tok)     // made on different versions it is there twice
	for _, a := range w.devices {
		if a.f.Unconfirmed() {
			continue
		}
		var err error
		switch i, e := a.f.Resolve(name); {
		case do == "same directory" && e != nil:
			err = a.f.Update(func(tx *crdt.Tx) error {
				dir, err := tx.Mkdir(crdt.Root, name, 0o755)
				if err == nil {
					_, _, err = tx.Create(dir, "of "+a.name(), 0o644, crdt.NewContent{Text: "mine\n"})
				}
				return err
			})
		case e != nil:
			err = a.f.Update(func(tx *crdt.Tx) error {
				_, _, err := tx.Create(crdt.Root, name, 0o644, crdt.NewContent{Text: tok + " same\n"})
				return err
			})
		case i.Kind == crdt.File && i.Object == nil:
			c, e := a.f.Content(i.Node)
			if e != nil {
				w.Fatal(e)
			}
			err = a.f.Update(func(tx *crdt.Tx) error {
				_, err := tx.Write(i.Node, c.Version, crdt.NewContent{Text: tok + " same\n" + c.Text})
				return err
			})
		}
		w.told(a, err, "makes the %s as others at %s", strings.TrimPrefix(do, "same "), name)
	}
}

// bringBack restores a file that was removed, or an old version of one.
func (w *world) bringBack(a *actor) {
	nodes := a.f.Nodes()
	if len(nodes) == 0 {
		return
	}
	slices.SortFunc(nodes, func(a, b crdt.NodeID) int { return slices.Compare(a[:], b[:]) })
	node := nodes[w.rnd.IntN(len(nodes))]
	log, err := a.f.Log(node)
	if err != nil || len(log) == 0 {
		return // removed, and never had content
	}
	r := crdt.RestoreRequest{Path: log[0].Path}
	if w.rnd.IntN(2) == 0 {
		r.Version = log[w.rnd.IntN(len(log))].Version.String()
	}
	before := w.showing(a)
	_, err = a.f.Restore(r)
	after := w.showing(a)
	w.vanished(before, after)
	w.anyMayReturn()
	w.told(a, err, "restores %s of version %q", r.Path, r.Version)
}

// choose ends a version that is shown beside another, one way or the other.
func (w *world) choose(a *actor) {
	all := slices.DeleteFunc(w.list(a, crdt.File), func(i crdt.Info) bool { return !i.Alt })
	if len(all) == 0 {
		return
	}
	i := all[w.rnd.IntN(len(all))]
	before := w.showing(a)
	a.update(func(tx *crdt.Tx) error {
		if w.rnd.IntN(2) == 0 {
			return tx.Choose(i.Node, i.Version)
		}
		return tx.Resolve(i.Node, i.Version)
	})
	w.vanished(before, w.showing(a))
	w.anyMayReturn()
	w.say(a, "chooses about %s", i.Name)
}

// vanished notes what an action took away that does not say what it takes.
func (w *world) vanished(before, after string) {
	for _, tok := range tokenForm.FindAllString(before, -1) {
		if !strings.Contains(after, tok) {
			w.taken[tok] = true
		}
	}
}

// hostile is a member whose program is not ours.
type hostile struct {
	key   ed25519.PrivateKey
	id    feed.ID
	heads []feed.Head // of all branches of all its runs
}

func newHostile(w *world, by *actor) *hostile {
	h := &hostile{key: ed25519.NewKeyFromSeed([]byte("a member that nobody should trust"[:32]))}
	h.id = feed.ID{Device: feed.DeviceOf(h.key), Run: 1}
	secret, err := by.f.Invite()
	if err == nil {
		_, err = by.f.Redeem(secret, h.id.Device, "mallory")
	}
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// forked reports whether it made two entries of one number.
func (h *hostile) forked() bool {
	seen := map[feed.Head]bool{}
	for _, head := range h.heads {
		head.Hash = feed.Hash{}
		if seen[head] {
			return true
		}
		seen[head] = true
	}
	return false
}

// act gives one device an entry of poison, which often is one of two of its number.
func (h *hostile) act(w *world, a *actor) {
	frontier, err := a.f.Frontier()
	if err != nil {
		w.Fatal(err)
	}
	// Its runs do not tell of each other, so that what they hold comes in any order.
	id := feed.ID{Device: h.id.Device, Run: 1 + w.rnd.Uint64N(3)}
	heads := slices.DeleteFunc(slices.Clone(h.heads), func(h feed.Head) bool { return h.Feed != id })
	d := feed.Draft{Folder: a.f.ID(), Feed: id, Seq: 1, Time: time.Unix([]int64{1_700_000_000, 4_070_908_800, -1}[w.rnd.IntN(3)], 0)}
	for _, head := range frontier.Heads() {
		if head.Feed.Device != id.Device {
			d.Frontier = append(d.Frontier, head)
		}
	}
	if len(heads) > 0 && w.rnd.IntN(8) > 0 {
		prev := heads[len(heads)-1]
		if w.rnd.IntN(3) == 0 {
			prev = heads[w.rnd.IntN(len(heads))]
		}
		if held, err := a.f.Holds(prev); err != nil {
			w.Fatal(err)
		} else if held {
			d.Seq, d.Prev = prev.Seq+1, prev.Hash
		}
	}
	nodes := []crdt.NodeID{crdt.Root, {1}}
	for _, i := range w.list(a, crdt.File, crdt.Dir, crdt.Symlink) {
		nodes = append(nodes, i.Node)
	}
	e, err := feed.Seal(h.key, a.f.Key(), d, a.f.Poison(w.rnd, nodes))
	if err != nil {
		w.Fatal(err)
	}
	_, err = a.f.Receive([]*feed.Entry{e})
	w.confirmed(a)
	w.say(a, "is given %d of a hostile member: %v", d.Seq, err)
	switch {
	case err == nil:
		h.heads = append(h.heads, e.Head())
	case !errors.Is(err, crdt.ErrEntry) && a.f.Admitted(h.id.Device):
		w.Fatal(err)
	}
}
