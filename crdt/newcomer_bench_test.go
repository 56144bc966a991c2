package crdt_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// lived is a folder with a past: files in directories of a hundred, and ten events a file, in
// entries of a hundred events. SHEAF_NEWCOMER_FILES says how many files.
func lived(b *testing.B) (src, dst *device, files int) {
	files = 4000
	if s := os.Getenv("SHEAF_NEWCOMER_FILES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		files = n
	}
	src, dst = pair(b)
	body := lines(20)
	nodes := make([]crdt.NodeID, 0, files)
	var dir crdt.NodeID
	for i := range files {
		src.update(func(tx *crdt.Tx) (err error) {
			if i%100 == 0 {
				if dir, err = tx.Mkdir(crdt.Root, fmt.Sprintf("dir%d", i/100), 0o755); err != nil {
					return err
				}
			}
			n, _, err := tx.Create(dir, fmt.Sprintf("file%d", i), 0o644, crdt.NewContent{Text: body + fmt.Sprint(i)})
			nodes = append(nodes, n)
			return err
		})
	}
	for round := range 9 {
		for i, n := range nodes {
			src.update(func(tx *crdt.Tx) error {
				_, err := tx.Append(n, fmt.Appendf(nil, "round %d\n", round))
				return err
			})
			if i%100 == 99 {
				if _, err := src.f.Frontier(); err != nil { // seals
					b.Fatal(err)
				}
			}
		}
	}
	return src, dst, files
}

// BenchmarkNewcomer is what a new device of such a folder pays for the whole of it: every entry
// checked and applied.
func BenchmarkNewcomer(b *testing.B) {
	src, dst, files := lived(b)
	b.ResetTimer()
	for at := src.sent[dst]; ; {
		ls, err := src.f.Since(at, 256)
		if err != nil {
			b.Fatal(err)
		}
		if len(ls) == 0 {
			break
		}
		es := make([]*feed.Entry, len(ls))
		for i, l := range ls {
			es[i] = l.Entry
		}
		if _, err := dst.f.Receive(es); err != nil {
			b.Fatal(err)
		}
		at = ls[len(ls)-1].Order
	}
	b.ReportMetric(float64(10*files)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkFirstView is what the same device pays until it sees the tree: the checkpoint is
// made, which its maker pays, and shown.
func BenchmarkFirstView(b *testing.B) {
	src, dst, files := lived(b)
	runtime.GC() // of what made the folder
	b.ResetTimer()
	header, body, err := src.f.MakeCheckpoint(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	made, madeCPU := b.Elapsed(), processorTime(b)
	if header == nil {
		b.Skip("so few files are worth no checkpoint")
	}
	c, err := dst.f.ParseCheckpoint(header, src.home.Device())
	if err != nil {
		b.Fatal(err)
	}
	if err := dst.f.ShowFirst(c, body); err != nil {
		b.Fatal(err)
	}
	if is, err := dst.f.ReadDir(crdt.Root); err != nil || len(is) != (files+99)/100 {
		b.Fatal(len(is), err)
	}
	b.ReportMetric((processorTime(b)-madeCPU).Seconds()*1e3, "cpu-ms-to-show")
	b.ReportMetric(made.Seconds()*1e3, "ms-to-make")
	b.ReportMetric((b.Elapsed()-made).Seconds()*1e3, "ms-to-show")
	b.ReportMetric(float64(len(body)), "bytes")
}

// processorTime is what this process has used of it, the garbage collector's included.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
