package fs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// closedAt is n new files that were closed one after the other, the last one at now.
func closedAt(now time.Time, n int, apart time.Duration, packed bool, bytes int64) *ripening {
	var r ripening
	for i := range n {
		r.add(closedFile{in: &inode{id: uint64(i)}, at: now.Add(time.Duration(i+1-n) * apart), packed: packed, bytes: bytes})
	}
	return &r
}

// A burst of new files waits until it pauses, but not for long, and not with much.
func TestBurstWaits(t *testing.T) {
	now := time.Now()
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		r      *ripening
		at     time.Time
		due    int
		burst  bool
		hurry  bool
		second int // what is due right after
	}{
		{name: "one", r: closedAt(now, 1, 0, true, 1), at: now.Add(ripe), due: 1},
		{name: "one, just now", r: closedAt(now, 1, 0, true, 1), at: now},
		{name: "a few", r: closedAt(now, manyNew-1, ms, true, 1), at: now.Add(50 * ms), due: 57, second: 0},
		{name: "a burst", r: closedAt(now, 1000, ms, true, 1), at: now, burst: true},
		{name: "a burst that pauses", r: closedAt(now, 1000, ms, true, 1), at: now.Add(pauses), due: maxPublished, second: maxPublished},
		{name: "a long burst", r: closedAt(now, 3000, ms, true, 1), at: now, due: maxPublished, second: maxPublished},
		{name: "much", r: closedAt(now, 1000, ms, true, backlog/1000+1), at: now, due: maxPublished},
		{name: "large files", r: closedAt(now, 1000, ms, false, 1<<20), at: now, burst: true, due: maxPublished, second: maxPublished},
		{name: "in a hurry", r: closedAt(now, 200, 0, true, 1), at: now, hurry: true, due: maxPublished, second: 200 - maxPublished},
	} {
		if tt.hurry {
			tt.r.hurry()
		}
		due, next, burst := tt.r.take(tt.at, ripe)
		if len(due) != tt.due || burst != tt.burst {
			t.Errorf("%s: %d are due, burst %v, want %d, %v", tt.name, len(due), burst, tt.due, tt.burst)
		}
		for i, in := range due {
			if in.id != uint64(i) {
				t.Errorf("%s: number %d is due at %d", tt.name, in.id, i)
				break
			}
		}
		if len(tt.r.list) > 0 && (next > ripe || len(due) == 0 && next <= 0) {
			t.Errorf("%s: the others wait for %v", tt.name, next)
		}
		if tt.second > 0 {
			if due, _, _ := tt.r.take(tt.at, ripe); len(due) != tt.second {
				t.Errorf("%s: then %d are due, want %d", tt.name, len(due), tt.second)
			}
		}
		if tt.hurry && (len(tt.r.list) != 0 || len(tt.r.known) != 0 || tt.r.bytes != 0) {
			t.Errorf("%s: %d are left, %d known, %d bytes", tt.name, len(tt.r.list), len(tt.r.known), tt.r.bytes)
		}
	}
}

// What is made faster than it is published a few at a time is published at once before it has
// waited for long, or is much: it would be ever more otherwise.
func TestBurstFallsBehind(t *testing.T) {
	now := time.Now()
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		r    *ripening
		next time.Duration
	}{
		{"longer than a burst", closedAt(now, 3000, ms, true, 1), ripe},
		{"for long", closedAt(now, 2*int(atLatest/ms), ms, true, 1), 0},
		{"more than a burst", closedAt(now, 1000, ms, true, backlog/500), ripe},
		{"much", closedAt(now, 1000, ms, true, backlog/250), 0},
	} {
		if due, next, _ := tt.r.take(now, ripe); len(due) != maxPublished || next != tt.next {
			t.Errorf("%s: %d are due, the next ones after %v, want %d, %v", tt.name, len(due), next, maxPublished, tt.next)
		}
	}
}

// While files are made by the thousand the first ones are in the folder before the last is made,
// and all of them are once that ends.
func TestBurstIsPublished(t *testing.T) {
	here := mounted(t)
	n := 0
	eventually(t, "the first of many files is in the folder", func() bool {
		for range 100 {
			here.write(fmt.Sprintf("f%d", n), strings.Repeat("a line\n", 100))
			n++
		}
		_, err := here.f.Resolve("f0")
		return err == nil && n > manyNew
	})
	eventually(t, "the last of them is, too", func() bool {
		list, err := here.f.ReadDir(crdt.Root)
		return err == nil && len(list) == n
	})
}

// Who needs all new files in the folder, such as a git that ends, gets all that are closed.
func TestHarvestAll(t *testing.T) {
	here := mounted(t)
	here.patient()
	const n = 3*maxPublished + 1
	for i := range n {
		here.write(fmt.Sprintf("f%d", i), "a line\n")
	}
	fs := here.s.fs
	eventually(t, "all are closed", func() bool {
		fs.ripeMu.Lock()
		defer fs.ripeMu.Unlock()
		return len(fs.ripening.list) == n
	})
	fs.harvestAll()
	if list, err := here.f.ReadDir(crdt.Root); err != nil || len(list) != n {
		t.Errorf("%d files are in the folder, %v, want %d", len(list), err, n)
	}
}
