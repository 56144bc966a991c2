package tree

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// extra is what stands under a shown name that is nobody's own.
type extra struct {
	n       *node
	version Version // of a version shown beside; nil: the node itself
}

// alt is a version shown beside its file.
type alt struct {
	name    string
	version Version
}

// SetDevices has devices named by name in the suffixes of shown names, instead of by their
// short form. The names are part of paths: they should be the same on all devices and
// change seldom.
func (t *Tree) SetDevices(name func(feed.Device) string) []Change {
	t.device = name
	for n := range t.nodes.all() {
		if n.kind == Dir && len(n.dir.losers)+len(n.dir.splits) > 0 {
			t.rename(n)
		}
	}
	return t.settle()
}

// candidate is a node or a version that needs a name that is nobody's own.
type candidate struct {
	n      *node
	events []*event // of a version; nil: the node
	at     *stamp
	suffix string
}

// assign gives the extra names of a directory: to each candidate, in an order that depends on
// operations only, the first that is free.
func (t *Tree) assign(p *node) {
	d := p.dir
	d.stale = false
	d.extra, d.taken = nil, nil
	list := t.candidates(d)
	if len(list) == 0 {
		return
	}
	d.extra, d.taken = make(map[string]extra, len(list)), map[string]bool{}
	tried := map[string]int{}
	splits := map[*node][]alt{}
	for _, c := range list {
		first := suffixed(c.n, c.suffix, 1)
		name := first
		i := max(1, tried[first])
		for ; ; i++ {
			name = suffixed(c.n, c.suffix, i)
			if d.owners.get(name) != nil {
				d.taken[name] = true
			} else if _, ok := d.extra[name]; !ok {
				break
			}
		}
		tried[first] = i + 1
		if c.events != nil {
			v := versionOf(c.events)
			d.extra[name] = extra{n: c.n, version: v}
			splits[c.n] = append(splits[c.n], alt{name: name, version: v})
			continue
		}
		d.extra[name] = extra{n: c.n}
		if d.losers[c.n] != name {
			t.touch(c.n)
			d.losers[c.n] = name
		}
	}
	for n, alts := range splits {
		t.touch(n)
		d.splits[n] = alts
	}
}

func (t *Tree) candidates(d *dir) []candidate {
	list := make([]candidate, 0, len(d.losers)+len(d.splits))
	for n := range d.losers {
		list = append(list, candidate{n: n, at: n.place, suffix: t.label(n.place)})
	}
	for n := range d.splits {
		for _, events := range n.file.groups()[1:] {
			e := events[0]
			suffix := t.label(e.at)
			if e.time != 0 {
				suffix += time.UnixMilli(e.time).UTC().Format(" " + time.DateOnly)
			}
			list = append(list, candidate{n: n, events: events, at: e.at, suffix: suffix})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(a.n.name, b.n.name),
			a.at.compare(b.at),
			bytes.Compare(a.n.id[:], b.n.id[:]),
			cmp.Compare(len(a.events), len(b.events)),
		)
	})
	return list
}

// label names the device of a stamp so that it can stand in a file's name.
func (t *Tree) label(at *stamp) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, t.device(at.feed.Device))
	name = strings.TrimSpace(clip(name, 64))
	if name == "" {
		return at.feed.Device.Short()
	}
	return name
}

// suffixed returns the i-th name to try for n: "name (suffix).ext", "name (suffix 2).ext", …
func suffixed(n *node, suffix string, i int) string {
	stem, ext := n.name, ""
	if dot := strings.LastIndexByte(stem, '.'); n.kind != Dir && dot > 0 && len(stem)-dot <= 16 {
		stem, ext = stem[:dot], stem[dot:]
	}
	if i > 1 {
		suffix += " " + strconv.Itoa(i)
	}
	suffix = " (" + suffix + ")" + ext
	return clip(stem, MaxName-len(suffix)) + suffix
}

// clip cuts s to n bytes, not inside a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
