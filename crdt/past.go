package crdt

import (
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Past is a folder as it was. It does not change, but for what content can be read: that of
// an old version may not be on this device (ErrNotHere). All methods are safe for concurrent
// use.
//
// A folder at a time T is made of the entries of T or before. An entry is of the time that its
// maker's clock said, but never later than this device got it and never earlier than the entry
// of the same device before it. What builds on something later than T, since a clock was
// wrong, is not in it. So it is what people had made by T, wherever they were: not
// necessarily what anybody saw then, since changes travel. Changes that arrive later, but were
// made before T, change what the folder at T is.
type Past struct {
	f    *Folder
	tree *tree.Tree
}

// PastAt returns the folder at a time.
func (f *Folder) PastAt(t time.Time) (*Past, error) {
	ms := t.UnixMilli()
	return f.past(func(d *dated) bool { return d.at <= ms })
}

// PastOf returns the folder as the maker of an entry had it when the entry was made, the
// entry included: all that the entry builds on and nothing else. change begins with at least
// four hexadecimal digits of Revision.Change. It fails with ErrNotExist, and with ErrInvalid
// where several entries begin so.
func (f *Folder) PastOf(change string) (*Past, error) {
	known, err := f.frontierOf(change)
	if err != nil {
		return nil, err
	}
	return f.past(func(d *dated) bool { return known.Covers(d.Feed, d.Seq) })
}

// pastBefore is the folder as this device had it before an entry came.
func (f *Folder) pastBefore(order uint64) (*Past, error) {
	return f.past(func(d *dated) bool { return d.order < order })
}

func (f *Folder) past(in func(*dated) bool) (*Past, error) {
	p := &Past{f: f, tree: tree.New()}
	p.tree.SetDevices(f.names((*Folder).nameInPaths))
	var batch []tree.Stamped
	err := f.scanRecords(func(d dated) error {
		if !in(&d) {
			return nil
		}
		batch = append(batch, f.treeOps(d)...)
		if len(batch) >= 1<<14 {
			p.tree.Apply(batch)
			batch = batch[:0]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.tree.Apply(batch)
	return p, nil
}

// names is a copy of what of says of every device, which needs no lock.
func (f *Folder) names(of func(*Folder, Device) string) func(Device) string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	names := make(map[Device]string, len(f.members))
	for d := range f.members {
		names[d] = of(f, d)
	}
	return func(d Device) string {
		if n := names[d]; n != "" {
			return n
		}
		return d.Short()
	}
}

// minPrefix is how much of an id has to be given.
const minPrefix = 4

// frontierOf returns what an entry builds on, and the entry itself.
func (f *Folder) frontierOf(change string) (feed.Frontier, error) {
	prefix := strings.ToLower(change)
	if _, err := hex.DecodeString(prefix[:len(prefix)&^1]); err != nil || len(prefix) < minPrefix {
		return nil, &Error{Op: "read history", Path: change, Kind: ErrInvalid, Err: errors.New("not the id of a change"),
			Hint: "sheaf log --json shows them as change"}
	}
	if err := f.seal(); err != nil {
		return nil, err
	}
	var found []feed.Head
	n := len(f.key('i'))
	err := f.home.db.Scan(f.key('i'), func(k, _ []byte) error {
		h := headOfIndex(k[n:])
		if strings.HasPrefix(h.Hash.String(), prefix) {
			found = append(found, h)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, storage("read history", f.grant.Name, err)
	case len(found) == 0:
		return nil, &Error{Op: "read history", Path: change, Kind: ErrNotExist, Err: errors.New("no version or change begins so"),
			Hint: "sheaf log shows what there is"}
	case len(found) > 1:
		return nil, &Error{Op: "read history", Path: change, Kind: ErrInvalid, Err: errors.New("several changes begin so"), Hint: "give more digits"}
	}
	// An entry tells what changed since the one before it: all of them together tell all.
	known := feed.Frontier{}
	known.Advance(found[0])
	err = f.scanOwn(found[0], func(e *feed.Entry) {
		for _, h := range e.Frontier {
			known.Advance(h)
		}
	})
	return known, err
}

// scanOwn calls fn for the entries of a feed up to one of it.
func (f *Folder) scanOwn(last feed.Head, fn func(*feed.Entry)) error {
	prefix := f.key('i', last.Feed.Device[:], be64(last.Feed.Run))
	var orders []uint64
	err := f.home.db.Scan(prefix, func(k, v []byte) error {
		if h := headOfIndex(k[len(f.key('i')):]); h.Seq <= last.Seq {
			orders = append(orders, decodeLocated(v).order)
		}
		return nil
	})
	for _, o := range orders {
		if err != nil {
			break
		}
		var v []byte
		var ok bool
		if v, ok, err = f.home.db.Get(f.key('e', be64(o))); err == nil && ok {
			var e *feed.Entry
			if e, err = feed.Decode(f.id, v); err == nil {
				fn(e)
			}
		}
	}
	return storage("read history", f.grant.Name, err)
}

// Resolve describes the node at a slash-separated path; "" is the folder itself.
func (p *Past) Resolve(path string) (Info, error) {
	info := p.info(p.tree.Get(Root), "")
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if info.Kind != Dir {
			return Info{}, fail("resolve", path, ErrNotDir, nil)
		}
		var err error
		if info, err = p.Lookup(info.Node, name); err != nil {
			return Info{}, err
		}
	}
	return info, nil
}

// Lookup describes the node of a name in a directory, as it was shown.
func (p *Past) Lookup(dir NodeID, name string) (Info, error) {
	e, ok := p.tree.Entry(dir, name)
	if !ok {
		return Info{}, fail("stat", join(p.tree.Path(dir), name), ErrNotExist, nil)
	}
	return p.entry(e), nil
}

// ReadDir describes what was in a directory, in the order of the names.
func (p *Past) ReadDir(dir NodeID) ([]Info, error) {
	n := p.tree.Get(dir)
	if n == nil || !n.Visible || n.Kind != Dir {
		return nil, fail("read directory", p.tree.Path(dir), ErrNotExist, nil)
	}
	es := p.tree.ReadDir(dir)
	out := make([]Info, 0, len(es))
	for _, e := range es {
		out = append(out, p.entry(e))
	}
	return out, nil
}

// Path is where a node was shown; "" for the root and for what was not.
func (p *Past) Path(node NodeID) string { return p.tree.Path(node) }

// Xattrs returns the extended attributes that a node had.
func (p *Past) Xattrs(node NodeID) map[string][]byte { return maps.Clone(p.tree.Xattrs(node)) }

// Content returns what a file held.
func (p *Past) Content(i Info) (Content, error) { return p.f.ContentAt(i.Node, i.Version) }

// Size is how many bytes a file held; reading its text may be needed for it.
func (p *Past) Size(i Info) (int64, error) {
	switch {
	case i.Kind != File || i.Object != nil:
		return i.Size, nil
	case len(i.Version) == 1:
		if n, ok := p.f.knownSize(i.Node, i.Version[0]); ok {
			return n, nil
		}
	}
	c, err := p.Content(i)
	return int64(len(c.Text)), err
}

func (f *Folder) knownSize(node NodeID, e EventID) (int64, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tree.TextSize(node, e)
}

func (p *Past) entry(e tree.Dirent) Info {
	n := p.tree.Get(e.Node)
	if !e.Alt {
		return p.info(n, e.Name)
	}
	n.Version, n.Object = e.Version, nil
	if ev, ok := p.tree.Event(e.Node, e.Version[0]); ok {
		n.Object = ev.Object
	}
	i := p.info(n, e.Name)
	i.Alt = true
	return i
}

// info leaves the size of a text open: see Size.
func (p *Past) info(n *tree.Info, name string) Info {
	i := Info{
		Node: n.Node, Kind: n.Kind, Parent: n.Parent, Name: name, Mode: n.Mode,
		Mtime: time.Unix(0, n.Mtime), Target: n.Target, Version: n.Version,
	}
	switch {
	case n.Kind == Symlink:
		i.Size = int64(len(n.Target))
	case n.Object != nil:
		o := fromTree(n.Object)
		i.Object, i.Size = &o, o.Size
	}
	return i
}
