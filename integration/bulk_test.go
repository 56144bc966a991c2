package integration

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// bulk makes a file of random bytes and many small ones in the current directory; its
// arguments are the seed, the bytes, the number of small files.
const bulk = `exec python3 -c '
import os, random, sys
seed, size, files = map(int, sys.argv[1:])
r = random.Random(seed)
with open("big.bin", "wb") as f:
    for _ in range(size >> 20):
        f.write(r.randbytes(1 << 20))
os.makedirs("small", exist_ok=True)
for i in range(files):
    with open("small/%d.txt" % i, "w") as f:
        f.write("file %d\n" % i + " ".join(str(r.random()) for _ in range(r.randrange(1, 120))) + "\n")
' "$@"`

// received is how many bytes came to the device over the wire.
func received(t *testing.T, d *rig.Device) int64 {
	t.Helper()
	// Not from sysfs, which shows the namespace that it was mounted in.
	out, err := d.Command(context.Background(), "awk", `/eth0:/ {print $2}`, "/proc/self/net/dev").Output()
	n, perr := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil || perr != nil {
		t.Fatal(err, perr)
	}
	return n
}

// TestBulk: a large file and many small ones cross while either side is killed halfway.
// All arrives, and nothing is sent from the start again.
func TestBulk(t *testing.T) {
	need(t, "python3", "nsenter", "ip")
	seed := rig.Seed(t)
	size, files := int64(256<<20), 2000
	if rig.Small() {
		size, files = 96<<20, 50
	}
	a, b := rig.Pair(t, rig.NewNet(t))
	b.Cut()
	a.Shell(bulk, fmt.Sprint(seed), fmt.Sprint(size), fmt.Sprint(files))
	want, err := tree(a)
	if err != nil {
		t.Fatal(err)
	}
	start, began := received(t, b), time.Now()
	aPID, bPID := a.PID(), b.PID()
	b.Mend()
	// Each side is killed once: this device when that much has come.
	for _, k := range []struct {
		d    *rig.Device
		pid  int
		part int64
	}{{b, bPID, size * 4 / 10}, {a, aPID, size * 7 / 10}} {
		rig.UntilIn(t, 2*time.Minute, "part of the file comes over", func() error {
			if got := received(t, b) - start; got < k.part {
				return fmt.Errorf("%d of %d bytes", got, k.part)
			}
			return nil
		})
		k.d.Kill(k.pid)
		back(t, k.d, k.pid)
	}
	rig.UntilIn(t, rig.Deadline()+time.Minute, "everything is on b", func() error {
		got, err := tree(b)
		if err != nil {
			return err
		}
		return rig.SameText(got, want)
	})
	came := received(t, b) - start
	t.Logf("%d MiB and %d files in %v, %d MiB came over the wire", size>>20, files, time.Since(began).Round(time.Millisecond), came>>20)
	if limit := size*135/100 + int64(files)*4096; came > limit {
		t.Errorf("%d bytes came over the wire, more than %d: a transfer started over", came, limit)
	}
	for _, d := range []*rig.Device{a, b} {
		if e, err := os.ReadDir(d.Home + "/partial"); err == nil && len(e) > 0 {
			t.Errorf("%s keeps %d unfinished transfers", d.Name, len(e))
		}
	}
}
