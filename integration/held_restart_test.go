package integration

import (
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// TestHeldOverRestart: the daemon ends while a program holds files and has just written to
// them. No call of the program succeeds any more, what a call had returned for is there, and
// the program goes on once it has opened the files again.
func TestHeldOverRestart(t *testing.T) {
	rnd := rand.New(rand.NewSource(rig.Seed(t)))
	a, b := rig.Pair(t, nil)
	ends := []struct {
		name string
		end  func(pid int)
	}{
		{"killed", func(pid int) { a.Kill(pid); back(t, a, pid) }},
		{"taken down", func(int) { a.Sheaf("down"); a.Sheaf("up") }},
	}
	for i, e := range ends {
		var all []*held
		for _, object := range []bool{false, true} {
			for _, how := range []string{inPlace, anew, atEnd, mapped} {
				h := &held{n: 100*i + len(all), how: how, object: object}
				lines := slices.Insert(page(rnd, 3), 6, marks[0])
				if h.begins = text(lines); object {
					h.begins = "PNG\x00\n" + h.begins
				}
				all = append(all, h)
				a.ShellIn(h.begins, `mkdir $1; cat > $1/f.txt`, h.dir())
			}
		}
		sameTrees(t, a, b)
		p := newHolder(t, a)
		open := func(h *held) {
			t.Helper()
			p.do(t, "open", h.n, a.Path(h.dir()+"/"+name), h.how == atEnd)
			if h.how == mapped {
				p.do(t, "map", h.n)
			}
		}
		for _, h := range all {
			open(h)
			p.do(t, "content", h.n)
		}
		pid := a.PID()
		for _, h := range all {
			h.write(t, p, h.begins, 1)
		}
		e.end(pid)
		for _, h := range all {
			for _, c := range [][]any{{"put", h.n, 0, "x"}, {"append", h.n, "x"}, {"cut", h.n, 1}, {"content", h.n}} {
				if _, err := p.try(c...); err == nil || err.Error() != "ENOTCONN" {
					t.Errorf("%s, %s: %s of what was opened before: %v", e.name, h.how, c[0], err)
				}
			}
		}
		// Memory that is not there any more ends a program (SIGBUS), as where a disk fails.
		if _, err := p.try("replace", all[3].n, marks[1], marks[2]); err == nil {
			t.Errorf("%s: a write to a mapping from before succeeded", e.name)
		}
		for _, h := range all {
			what := fmt.Sprintf("%s, %s: what was written is there", e.name, h.how)
			rig.Until(t, what, func() error {
				want := h.wrote(h.begins, 1)
				got, err := a.Read(h.dir() + "/" + name)
				if err == nil && got == h.begins && h.how == anew {
					got, err = setAside(a, h.dir()+"/"+name) // one that was cut, and may not have been all
				}
				if err != nil {
					return err
				}
				return rig.SameText(got, want)
			})
		}
		sameTrees(t, a, b)
		q := newHolder(t, a)
		for _, h := range all {
			q.do(t, "open", h.n, h.dir()+"/"+name, h.how == atEnd)
			if h.how == mapped {
				q.do(t, "map", h.n)
			}
			knows := q.do(t, "content", h.n)
			step := 2
			if strings.Contains(knows, marks[0]) && h.how != atEnd {
				step = 1
			}
			want := h.write(t, q, knows, step)
			q.do(t, "close", h.n)
			rig.Sees(t, h.dir()+"/"+name, want, a, b)
		}
	}
}

// setAside is what status says was set aside of a file.
func setAside(d *rig.Device, path string) (string, error) {
	s, err := d.Status()
	if err != nil {
		return "", err
	}
	for _, n := range s.Notes() {
		if _, at, ok := strings.Cut(n.Text, "the bytes are kept in "); ok && n.Path == path {
			b, err := os.ReadFile(at)
			return string(b), err
		}
	}
	return "", fmt.Errorf("status does not name %s: %+v", path, s.Notes())
}
