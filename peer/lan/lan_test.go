package lan

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/feed"
)

func ids(n int) (fs []feed.Folder) {
	for range n {
		var f feed.Folder
		rand.Read(f[:])
		fs = append(fs, f)
	}
	return fs
}

func TestPacket(t *testing.T) {
	var d feed.Device
	rand.Read(d[:])
	for _, n := range []int{1, 3, 4, maxSlots} {
		fs := ids(n)
		b := packet(d, 4701, fs)
		if len(b) > maxPacket {
			t.Errorf("%d folders make %d bytes", n, len(b))
		}
		got := find(b, append(ids(2), fs[n-1]))
		if len(got) != 1 || got[0] != (found{fs[n-1], d, 4701}) {
			t.Errorf("%d folders: found %v", n, got)
		}
		if got := find(b, ids(5)); got != nil {
			t.Errorf("an outsider found %v", got)
		}
		for _, f := range fs {
			if bytes.Contains(b, f[:]) {
				t.Error("a folder's id is in the clear")
			}
		}
		if bytes.Contains(b, d[:]) {
			t.Error("the device is in the clear")
		}
	}
}

func TestPacketsDoNotLink(t *testing.T) {
	fs := ids(2)
	a, b := packet(feed.Device{1}, 1, fs), packet(feed.Device{1}, 1, fs)
	same := 0
	for i := len(magic); i < len(a); i++ {
		if a[i] == b[i] {
			same++
		}
	}
	if same > len(a)/10 {
		t.Errorf("two packets of one device agree in %d of %d bytes", same, len(a))
	}
}

func FuzzFind(f *testing.F) {
	fs := ids(2)
	f.Add(packet(feed.Device{1}, 4701, fs))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) { find(b, fs) })
}

func TestTwoFindEachOther(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	multicast := false
	for _, i := range interfaces {
		multicast = multicast || i.Flags&(net.FlagUp|net.FlagMulticast) == net.FlagUp|net.FlagMulticast
	}
	if !multicast {
		t.Skip("no network here carries multicast")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fs := ids(1)
	heard := make(chan feed.Device, 100)
	done := make(chan error, 2)
	for _, d := range []feed.Device{{1}, {2}} {
		c := Config{
			Device: d, Ports: []uint16{4700}, Folders: func() []feed.Folder { return fs }, Logger: slog.New(slog.DiscardHandler),
			Found: func(_ feed.Folder, other feed.Device, addr string) {
				if other == d {
					t.Errorf("%v heard itself", d)
				}
				select {
				case heard <- other:
				default:
				}
			},
		}
		go func() { done <- Run(ctx, c) }()
	}
	seen := map[feed.Device]bool{}
	for len(seen) < 2 {
		select {
		case d := <-heard:
			seen[d] = true
		case err := <-done:
			t.Skipf("multicast does not work here: %v", err)
		case <-ctx.Done():
			t.Skip("multicast is not carried here")
		}
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
