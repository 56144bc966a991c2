package crdt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d of a text that people write together\n", i)
	}
	return b.String()
}

// BenchmarkSave is one changed line in a file of 10 KB, and in one of 10 MB.
func BenchmarkSave(b *testing.B) {
	for _, size := range []struct {
		name  string
		lines int
	}{{"10KB", 220}, {"10MB", 220_000}} {
		b.Run(size.name, func(b *testing.B) {
			d := newDevice(b, "anna")
			f, err := d.home.CreateFolder("x")
			if err != nil {
				b.Fatal(err)
			}
			d.f = f
			body := lines(size.lines)
			n := d.create("f", body)
			v := d.node("f").Version
			if _, err := f.Frontier(); err != nil { // seals the file's first text, which is none of the saves
				b.Fatal(err)
			}
			saves := [2]string{ // by turns
				strings.Replace(body, "line 100 of", "line one hundred of", 1), strings.Replace(body, "line 100 of", "row 100 of", 1),
			}
			b.ResetTimer()
			for i := range b.N {
				b.StopTimer()
				text := strings.Clone(saves[i%2]) // a writer's bytes are new ones
				b.StartTimer()
				d.update(func(tx *crdt.Tx) (err error) {
					v, err = tx.Write(n, v, crdt.NewContent{Text: text})
					return err
				})
			}
		})
	}
}

// BenchmarkImport makes files of 4 KB, and hands them to another device.
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		src, dst := pair(b)
		body := lines(85)
		for i := range 5000 {
			src.update(func(tx *crdt.Tx) error {
				_, _, err := tx.Create(crdt.Root, fmt.Sprintf("file%d", i), 0o644, crdt.NewContent{Text: body + fmt.Sprint(i)})
				return err
			})
		}
		src.send(dst)
	}
}

// BenchmarkReceive applies entries of one line each, over one file and over many.
func BenchmarkReceive(b *testing.B) {
	for _, files := range []int{1, 1000} {
		b.Run(fmt.Sprintf("%dfiles", files), func(b *testing.B) {
			src, dst := pair(b)
			var nodes []crdt.NodeID
			for i := range files {
				nodes = append(nodes, src.create(fmt.Sprintf("f%d", i), lines(20)))
			}
			src.send(dst)
			var es []*feed.Entry
			at := src.sent[dst]
			for i := range 2000 {
				src.update(func(tx *crdt.Tx) error {
					_, err := tx.Append(nodes[i%files], []byte("one more line\n"))
					return err
				})
				src.f.Frontier() // seals
			}
			ls, err := src.f.Since(at, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			for _, l := range ls {
				es = append(es, l.Entry)
			}
			b.ResetTimer()
			if _, err := dst.f.Receive(es); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(es))/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkOpen opens a home that holds a folder of many files.
func BenchmarkOpen(b *testing.B) {
	d := newDevice(b, "anna")
	f, err := d.home.CreateFolder("x")
	if err != nil {
		b.Fatal(err)
	}
	d.f = f
	body := lines(85)
	for i := range 20000 {
		d.update(func(tx *crdt.Tx) error {
			_, _, err := tx.Create(crdt.Root, fmt.Sprintf("file%d", i), 0o644, crdt.NewContent{Text: body})
			return err
		})
	}
	for b.Loop() {
		d.reopen()
	}
}
