package fs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkReadSmall opens, reads and closes 1,000 small texts from another
// process, for the second time.
func BenchmarkReadSmall(b *testing.B) {
	d := mounted(b)
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(d.point, fmt.Sprintf("f%d", i)), []byte("a few words\n"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.s.Flush(); err != nil {
		b.Fatal(err)
	}
	run := func(rounds int) time.Duration {
		start := time.Now()
		out, err := exec.Command("python3", "-c", `
import os, sys
for _ in range(int(sys.argv[2])):
    for i in range(1000):
        f = os.open("%s/f%d" % (sys.argv[1], i), os.O_RDONLY)
        os.read(f, 65536)
        os.close(f)
`, d.point, fmt.Sprint(rounds)).CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		return time.Since(start)
	}
	run(1)
	base := run(0)
	b.ResetTimer()
	took := run(b.N) - base
	b.ReportMetric(float64(took.Microseconds())/float64(1000*b.N), "µs/file")
	b.ReportMetric(0, "ns/op")
}
