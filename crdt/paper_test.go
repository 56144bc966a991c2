package crdt_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/automerge/automerge-go"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	texts "github.com/sheaf-fs/sheaf/crdt/text"
)

// paper gives the saves of a paper: the recorded session automerge-paper (editing-traces of
// Joseph Gentle and others), saved after every 100 of its edits.
func paper(b *testing.B) (saves func(yield func(string) bool), end string) {
	dir := os.Getenv("SHEAF_DATA")
	if dir == "" {
		dir = "../../shared/data"
	}
	f, err := os.Open(filepath.Join(dir, "editing-traces", "automerge-paper.json.gz"))
	if err != nil {
		b.Skip("no editing-traces; SHEAF_DATA names the folder that has them")
	}
	defer f.Close()
	var trace struct {
		EndContent string
		Txns       []struct{ Patches [][3]any }
	}
	z, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(z).Decode(&trace)
	}
	if err != nil {
		b.Fatal(err)
	}
	return func(yield func(string) bool) {
		var text []rune
		n := 0
		for _, tx := range trace.Txns {
			for _, p := range tx.Patches {
				at, del := int(p[0].(float64)), int(p[1].(float64))
				text = slices.Replace(text, at, at+del, []rune(p[2].(string))...)
				if n++; n%100 == 0 && !yield(string(text)) {
					return
				}
			}
		}
		yield(string(text))
	}, trace.EndContent
}

// resident is the memory of this process, in bytes, that of C libraries included.
func resident(b *testing.B) float64 {
	debug.FreeOSMemory()
	s, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(s))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(n * os.Getpagesize())
}

// BenchmarkPaper writes a paper on one device and follows it on another, which reads the text
// after every save: in a folder, and in an Automerge document that each of the two has stored.
// The time is that of both; memory is what the process has grown by.
func BenchmarkPaper(b *testing.B) {
	report := func(b *testing.B, saves int, spent time.Duration, before float64, wire, disk int) {
		b.ReportMetric(float64(saves), "saves")
		b.ReportMetric(float64(spent.Microseconds())/1000/float64(saves), "ms/save")
		b.ReportMetric((resident(b)-before)/(1<<20), "MB-resident")
		b.ReportMetric(float64(wire), "B-wire")
		b.ReportMetric(float64(disk), "B-disk")
	}
	b.Run("sheaf", func(b *testing.B) {
		saves, end := paper(b)
		for b.Loop() {
			src, dst := pair(b)
			n := src.create("paper", "")
			src.send(dst)
			before := resident(b)
			at := src.sent[dst]
			var v crdt.Version
			var spent time.Duration
			got, wire, count := "", 0, 0
			for save := range saves {
				start := time.Now()
				src.update(func(tx *crdt.Tx) (err error) {
					v, err = tx.Write(n, v, crdt.NewContent{Text: save})
					return err
				})
				ls, err := src.f.Since(at, 100)
				if err != nil {
					b.Fatal(err)
				}
				for _, l := range ls {
					if _, err := dst.f.Receive([]*feed.Entry{l.Entry}); err != nil {
						b.Fatal(err)
					}
					at = l.Order
					wire += len(l.Entry.Bytes())
				}
				c, err := dst.f.Content(n)
				if err != nil {
					b.Fatal(err)
				}
				got = c.Text
				spent += time.Since(start)
				count++
			}
			if got != end {
				b.Fatal("the other device has another text")
			}
			after := resident(b)
			if err := dst.home.Close(); err != nil {
				b.Fatal(err)
			}
			dst.home = nil
			report(b, count, spent, before+resident(b)-after, wire, size(b, dst.dir))
		}
	})
	b.Run("automerge", func(b *testing.B) {
		saves, end := paper(b)
		for b.Loop() {
			before := resident(b)
			src, dst := automerge.New(), automerge.New()
			if err := src.Path("content").Set(automerge.NewText("")); err != nil {
				b.Fatal(err)
			}
			var spent time.Duration
			got, last, wire, count := "", "", 0, 0
			for save := range saves {
				start := time.Now()
				hunks := texts.Diff(last, save)
				if last == "" {
					hunks = []texts.Hunk{{{Ins: save}}}
				}
				t := src.Path("content").Text()
				for i := len(hunks) - 1; i >= 0; i-- {
					for k := len(hunks[i]) - 1; k >= 0; k-- {
						if err := t.Splice(hunks[i][k].Pos, hunks[i][k].Del, hunks[i][k].Ins); err != nil {
							b.Fatal(err)
						}
					}
				}
				if _, err := src.Commit(""); err != nil {
					b.Fatal(err)
				}
				change := src.SaveIncremental()
				if err := dst.LoadIncremental(change); err != nil {
					b.Fatal(err)
				}
				var err error
				if got, err = dst.Path("content").Text().Get(); err != nil {
					b.Fatal(err)
				}
				spent += time.Since(start)
				wire += len(change)
				last = save
				count++
			}
			if got != end {
				b.Fatal("the other document has another text")
			}
			report(b, count, spent, before, wire, len(dst.Save()))
			if utf8.RuneCountInString(got) != src.Path("content").Text().Len() {
				b.Fatal("the two documents differ")
			}
		}
	})
}

// size is what a folder of files takes, in bytes.
func size(b *testing.B, dir string) (n int) {
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		i, err := e.Info()
		if err == nil {
			n += int(i.Size())
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
