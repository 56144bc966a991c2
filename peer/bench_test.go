package peer

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// BenchmarkObject moves one large object over loopback. SHEAF_BENCH_MIB sets its size.
func BenchmarkObject(b *testing.B) {
	mib := 64
	if s := os.Getenv("SHEAF_BENCH_MIB"); s != "" {
		mib, _ = strconv.Atoi(s)
	}
	p, q, fp, fq := pair(b)
	syncWait(b, q, fq)
	b.SetBytes(int64(mib) << 20)
	k := 0
	for b.Loop() {
		b.StopTimer()
		in := random(byte(k), mib<<20)
		b.StartTimer()
		p.writeObject(fp, fmt.Sprintf("o%d", k), in)
		syncWait(b, p, fp)
		k++
	}
}

// BenchmarkSmallObjects moves 500 objects of 8 KiB.
func BenchmarkSmallObjects(b *testing.B) {
	p, q, fp, fq := pair(b)
	syncWait(b, q, fq)
	k := 0
	for b.Loop() {
		b.StopTimer()
		for range 500 {
			p.writeObject(fp, fmt.Sprintf("o%d", k), random(byte(k), 8<<10+k))
			k++
		}
		b.StartTimer()
		syncWait(b, p, fp)
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}

// BenchmarkEdit is from a save here to its being visible there.
func BenchmarkEdit(b *testing.B) {
	_, q, fp, fq := pair(b)
	write(b, fp, "x", "0\n")
	syncWait(b, q, fq)
	k := 0
	for b.Loop() {
		k++
		text := strconv.Itoa(k) + "\n"
		write(b, fp, "x", text)
		for {
			if got, _ := read(fq, "x"); got == text {
				break
			}
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// BenchmarkCatchUp is 1,000 entries that a device has missed.
func BenchmarkCatchUp(b *testing.B) {
	_, q, fp, fq := pair(b)
	syncWait(b, q, fq)
	k := 0
	for b.Loop() {
		b.StopTimer()
		q.stop()
		for range 1000 {
			k++
			write(b, fp, "x", fmt.Sprintf("line %d\n", k))
			if _, err := fp.Frontier(); err != nil { // one entry each
				b.Fatal(err)
			}
		}
		q.start("127.0.0.1:0")
		b.StartTimer()
		syncWait(b, q, fq)
		eventually(b, "caught up", func() bool {
			got, _ := read(fq, "x")
			return got == fmt.Sprintf("line %d\n", k)
		})
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
