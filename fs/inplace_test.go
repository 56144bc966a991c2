package fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/sheaf-fs/sheaf/crdt"
)

// What extents hold is what was put, and they say beforehand how much that will be.
func TestExtents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 200
		var x extents
		var want [size]byte // 0: nothing was put there
		for i := range rapid.IntRange(0, 30).Draw(t, "puts") {
			off := rapid.Int64Range(0, size-1).Draw(t, "offset")
			data := bytes.Repeat([]byte{byte(i + 1)}, rapid.IntRange(0, min(30, size-int(off))).Draw(t, "bytes"))
			count, bytes := x.after(off, len(data))
			x = x.put(off, data)
			copy(want[off:], data)
			total := 0
			for k, e := range x {
				if total += len(e.data); len(e.data) == 0 || k > 0 && e.off <= x[k-1].end() {
					t.Fatalf("extent %d of %v", k, x)
				}
			}
			if len(data) > 0 && (len(x) != count || total != bytes) {
				t.Fatalf("%d extents of %d bytes, %d of %d were foretold", len(x), total, count, bytes)
			}
			from := rapid.IntRange(0, size).Draw(t, "from")
			got := make([]byte, size-from)
			x.over(got, int64(from))
			if string(got) != string(want[from:]) {
				t.Fatalf("from %d on: %v, want %v", from, got, want[from:])
			}
		}
	})
}

// crashed is what a crash now would leave of what is being written to a file, "-" where nothing
// is; the caller holds the lock of the file's inode.
func crashed(d *device, node crdt.NodeID, dir string) (string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	was := sessionsDir(d.home, d.f)
	b, err := os.ReadFile(filepath.Join(was, journalName))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, journalName), b, 0o600)
	}
	if err != nil {
		return "", err
	}
	j, err := openJournal(dir)
	if err != nil {
		return "", err
	}
	defer j.close()
	fs := &filesystem{home: d.home, folder: d.f, journal: j}
	for _, r := range j.records() {
		if r.Node != node {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(was, fmt.Sprint(r.ID))); err == nil {
			return string(b), nil
		}
		if err := fs.toFile(&r); err != nil {
			return "", err
		}
		if b, err := os.ReadFile(j.path(r.ID)); !errors.Is(err, os.ErrNotExist) {
			return string(b), err
		}
	}
	return "-", nil
}

// A text that is changed in place is what was written, for who reads it, for who comes after a
// crash, and in the folder.
func TestInPlace(t *testing.T) {
	d := mounted(t)
	root := t.TempDir()
	var sb strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&sb, "línea %d of a text\n", i)
	}
	files := 0
	rapid.Check(t, func(rt *rapid.T) {
		files++
		name := fmt.Sprint("f", files)
		want := []byte(sb.String()[:rapid.SampledFrom([]int{3, 900, 150_000}).Draw(rt, "size")])
		if err := os.WriteFile(d.path(name), want, 0o644); err != nil {
			rt.Fatal(err)
		}
		d.flush()
		info, err := d.f.Resolve(name)
		if err != nil {
			rt.Fatal(err)
		}
		d.s.fs.mu.Lock()
		in := d.s.fs.nodes[key(info.Node, nil)]
		d.s.fs.mu.Unlock()
		var open []*os.File
		defer func() {
			for _, f := range open {
				f.Close()
			}
		}()
		reopen := func() *os.File {
			f, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
			if err != nil {
				rt.Fatal(err)
			}
			open = append(open, f)
			return f
		}
		f := reopen()
		check := func(what string) {
			got := make([]byte, len(want)+10)
			n, _ := f.ReadAt(got, 0)
			if string(got[:n]) != string(want) {
				rt.Fatalf("%s: %d bytes are read, %d were written", what, n, len(want))
			}
			in.mu.Lock()
			left, err := crashed(d, info.Node, filepath.Join(root, name))
			dirty := in.sess != nil && in.sess.dirty
			in.mu.Unlock()
			if err != nil {
				rt.Fatal(err)
			}
			if left != "-" && left != string(want) || left == "-" && dirty {
				rt.Fatalf("%s: a crash leaves %d bytes of %d", what, len(left), len(want))
			}
			if !dirty && d.text(name) != string(want) {
				rt.Fatalf("%s: the folder has not what was written", what)
			}
		}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			what := rapid.SampledFrom([]string{"write", "write", "write", "write far", "many", "cut", "grow", "sync", "flush", "close", "compact", "punch"}).Draw(rt, "step")
			switch what {
			case "write", "write far":
				off := rapid.IntRange(0, len(want)).Draw(rt, "offset")
				data := []byte(rapid.SampledFrom([]string{"", "x", "another line\n", "ñ", "\xff", "\x00", strings.Repeat("0123456789", 4000)}).Draw(rt, "data"))
				if what == "write far" {
					off += rapid.IntRange(1, 100).Draw(rt, "beyond")
				}
				if _, err := f.WriteAt(data, int64(off)); err != nil {
					rt.Fatal(err)
				}
				if len(data) > 0 {
					want = append(want, make([]byte, max(0, off+len(data)-len(want)))...)
					copy(want[off:], data)
				}
			case "many":
				for off := 0; off < len(want); off += 1 + len(want)/(2*piecesMost) {
					if _, err := f.WriteAt([]byte("."), int64(off)); err != nil {
						rt.Fatal(err)
					}
					want[off] = '.'
				}
			case "cut", "grow":
				to := rapid.IntRange(0, len(want)).Draw(rt, "size")
				if what == "grow" {
					to += len(want)
				}
				if err := f.Truncate(int64(to)); err != nil {
					rt.Fatal(err)
				}
				want = append(want[:min(to, len(want))], make([]byte, max(0, to-len(want)))...)
			case "punch":
				from := rapid.IntRange(0, len(want)).Draw(rt, "offset")
				n := rapid.IntRange(1, 50).Draw(rt, "bytes")
				if err := unix.Fallocate(int(f.Fd()), fallocPunch|fallocKeepSize, int64(from), int64(n)); err != nil {
					rt.Fatal(err)
				}
				clear(want[from:min(len(want), from+n)])
			case "sync":
				if err := f.Sync(); err != nil {
					rt.Fatal(err)
				}
			case "flush":
				d.flush()
			case "close":
				f.Close()
				f = reopen()
			case "compact":
				j := d.s.fs.journal
				j.mu.Lock()
				err := j.compact()
				j.mu.Unlock()
				if err != nil {
					rt.Fatal(err)
				}
			}
			check(what)
		}
		f.Close()
		d.flush()
		// What was emptied is published when the kernel says that nobody has it open.
		eventually(t, "the folder has what was written", func() bool { return d.text(name) == string(want) })
	})
}

// A few bytes in a long text are in the journal alone, and so is what comes after they were
// published while the file is held open.
func TestKilledInPlace(t *testing.T) {
	long := strings.Repeat("0123456789\n", 30_000)
	want := []byte(long)
	d := unmounted(t, map[string]string{"f": long})
	k := inDaemon(t, d)
	f := k.open("f", os.O_RDWR)
	put := func(s string, off int) {
		t.Helper()
		if _, err := f.WriteAt([]byte(s), int64(off)); err != nil {
			t.Fatal(err)
		}
		copy(want[off:], s)
	}
	dir := sessionsDir(k.home, k.f)
	session := func() (r record, x extents) {
		b, err := os.ReadFile(filepath.Join(dir, journalName))
		if err != nil {
			t.Fatal(err)
		}
		live, packed, _ := decodeJournal(b)
		for id := range live {
			return live[id], packed[id]
		}
		return r, nil
	}
	put("first", 200_000)
	put("second", 100)
	begun, x := session()
	if begun.Into != int64(len(long)) || len(x) != 2 {
		t.Errorf("in the journal: %+v, %v", begun, x)
	}
	eventually(t, "published while it is open", func() bool {
		r, x := session()
		return !r.Base.Equal(begun.Base) && len(x) == 0
	})
	put("third", 250_000)
	put("1st", 200_000)
	if list, _ := filepath.Glob(filepath.Join(dir, "[0-9]*")); len(list) > 0 {
		t.Errorf("sessions with a file: %v", list)
	}
	k.kill()
	equal(t, "recovered", k.text("f"), string(want))
}

// What was written into a version that is lost is set aside, and the file left as it is.
func TestRecoverAdrift(t *testing.T) {
	for name, spoil := range map[string]func(*record){
		"another version": func(r *record) { r.Base = crdt.Version{{1}} },
		"another size":    func(r *record) { r.Into++ },
	} {
		t.Run(name, func(t *testing.T) {
			d := unmounted(t, map[string]string{"f": "0123456789\n"})
			info, err := d.f.Resolve("f")
			if err != nil {
				t.Fatal(err)
			}
			j, err := openJournal(sessionsDir(d.home, d.f))
			if err != nil {
				t.Fatal(err)
			}
			r := record{ID: j.number(), Kind: sessionRecord, Node: info.Node, Base: info.Version, Into: info.Size, Path: "f"}
			spoil(&r)
			if err := j.put(r); err != nil {
				t.Fatal(err)
			}
			if ok, err := j.pack(piece{r.ID, 3, []byte("XX")}); !ok || err != nil {
				t.Fatal(ok, err)
			}
			j.close()
			for range 2 {
				if err := Recover(d.home, d.f); err != nil {
					t.Fatal(err)
				}
			}
			equal(t, "f", d.text("f"), "0123456789\n")
			notes := d.f.Status().Notes
			if len(notes) != 1 || notes[0].Kind != "set-aside" {
				t.Fatalf("notes: %+v", notes)
			}
			_, path, _ := strings.Cut(notes[0].Text, "kept in ")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "set aside", string(b), "012XX56789\n")
		})
	}
}

// A cut that fails, as on a full disk, takes nothing: what was written in place before is still
// the file's, after a crash too.
func TestFailedCutTakesNothing(t *testing.T) {
	d := mounted(t)
	d.write("f", poem)
	d.flush()
	node, fs := d.node("f"), d.s.fs
	fs.mu.Lock()
	in := fs.nodes[key(node, nil)]
	fs.mu.Unlock()
	eventually(t, "the file's first session ends", func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.sess == nil
	})
	f, err := os.OpenFile(d.path("f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("X"), 0); err != nil {
		t.Fatal(err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	s := in.sess
	if s == nil || s.Into == 0 {
		t.Fatal("nothing is in the journal")
	}
	if err := os.Mkdir(fs.journal.path(s.ID), 0o700); err != nil { // no file can be made there
		t.Fatal(err)
	}
	if err := fs.cut(s, 0); err == nil {
		t.Fatal("the bytes went to a file that cannot be")
	}
	if !s.wrote || s.Truncated {
		t.Errorf("the session is cut: truncated %v, written %v", s.Truncated, s.wrote)
	}
	for _, r := range fs.journal.records() {
		if r.ID == s.ID && r.Truncated {
			t.Error("a restart would set aside what was written")
		}
	}
}
