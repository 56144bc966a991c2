package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// save writes a file as programs do, with plain system calls.
func save(path string, content []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, content); err != nil {
		unix.Close(fd)
		return err
	}
	return unix.Close(fd)
}

// BenchmarkSave is the time from the start of a save on A until a watcher on B has been
// told and has read the new text.
func BenchmarkSave(b *testing.B) {
	x, y := rig.Pair(b, nil)
	const files = 24 // in turn, since one file's watchers are told at most twice a second
	name := func(i int) string { return fmt.Sprintf("f%d.txt", i%files) }
	body := strings.Repeat("a line of some text that was there before\n", 200)
	for i := range files {
		x.Write(name(i), body)
	}
	rig.Sees(b, name(files-1), body, y)
	ino, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(ino)
	if _, err := unix.InotifyAddWatch(ino, y.Point, unix.IN_MODIFY|unix.IN_CLOSE_WRITE); err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B, pick func(i int) string, pause time.Duration) {
		var took []time.Duration
		buf := make([]byte, 64<<10)
		const warm = 2 // the files were just made: their watchers have been told twice already
		for i := range warm + 100 {
			line := fmt.Sprintf("save %d %d\n", time.Now().UnixNano(), i)
			start := time.Now()
			if err := save(x.Path(pick(i)), []byte(body+line)); err != nil {
				b.Fatal(err)
			}
			for told := false; ; {
				p := []unix.PollFd{{Fd: int32(ino), Events: unix.POLLIN}}
				if n, err := unix.Poll(p, 10000); err != nil && err != unix.EINTR || n == 0 {
					b.Fatalf("save %d: not told within 10 s: %v", i, err)
				}
				n, err := unix.Read(ino, buf)
				if err != nil {
					b.Fatal(err)
				}
				told = told || mentions(buf[:n], pick(i))
				if !told {
					continue
				}
				if got, err := os.ReadFile(y.Path(pick(i))); err == nil && bytes.HasSuffix(got, []byte(line)) {
					break
				}
			}
			if i >= warm {
				took = append(took, time.Since(start))
			}
			time.Sleep(max(0, pause-time.Since(start))) // the pace of the benchmark, not a wait
		}
		slices.Sort(took)
		b.ReportMetric(ms(took[len(took)/2]), "median-ms")
		b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
		b.Logf("slowest of %d: %v", len(took), took[len(took)-5:])
		b.ReportMetric(0, "ns/op")
	}
	b.Run("plain", func(b *testing.B) { run(b, name, 45*time.Millisecond) })
	b.Run("vim-open", func(b *testing.B) {
		for _, d := range []*rig.Device{x, y} {
			d.On(b).Edit("vim auto", name(0), "a line of some text")
		}
		run(b, func(int) string { return name(0) }, 520*time.Millisecond)
	})
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// mentions tells whether a batch of inotify events has one for a name.
func mentions(b []byte, name string) bool {
	for len(b) >= unix.SizeofInotifyEvent {
		n := int(binary.NativeEndian.Uint32(b[12:]))
		if string(bytes.TrimRight(b[16:16+n], "\x00")) == name {
			return true
		}
		b = b[16+n:]
	}
	return false
}

// BenchmarkTransfer takes a large file from A to B, beside cp and rsync over a local
// daemon. SHEAF_BENCH_MIB sets its size, 1024 by default.
func BenchmarkTransfer(b *testing.B) {
	if _, err := exec.LookPath("rsync"); err != nil {
		b.Skip("rsync is not installed")
	}
	mib := 1024
	if n, err := strconv.Atoi(os.Getenv("SHEAF_BENCH_MIB")); err == nil {
		mib = n
	}
	dir := rig.Scratch(b, "transfer")
	file := filepath.Join(dir, "big.bin")
	must := func(argv ...string) time.Duration {
		b.Helper()
		start := time.Now()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %v\n%s", argv, err, out)
		}
		return time.Since(start)
	}
	must("sh", "-c", fmt.Sprintf("head -c %dM /dev/urandom > %s", mib, file))
	must("cat", file)
	copied := must("cp", file, filepath.Join(dir, "copy"))

	port := freePort(b)
	conf := filepath.Join(dir, "rsyncd.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "use chroot = no\nuid = %d\ngid = %d\n[m]\npath = %s\n", os.Getuid(), os.Getgid(), dir), 0o644); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	daemon := exec.CommandContext(ctx, "rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port="+port, "--config="+conf)
	if err := daemon.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cancel(); _ = daemon.Wait() }()
	rig.Until(b, "rsync listens", func() error {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err
	})
	synced := must("rsync", "--whole-file", "rsync://127.0.0.1:"+port+"/m/big.bin", filepath.Join(dir, "synced"))

	x, y := rig.Pair(b, nil)
	y.Sheaf("down")
	written := must("cp", file, x.Path("big.bin"))
	size := int64(mib) << 20
	start := time.Now()
	y.Sheaf("up")
	rig.UntilIn(b, 10*time.Minute, "the file is on b", func() error {
		fi, err := os.Stat(y.Path("big.bin"))
		if err == nil && fi.Size() != size {
			err = fmt.Errorf("%d bytes", fi.Size())
		}
		return err
	})
	came := time.Since(start)
	must("cmp", file, y.Path("big.bin"))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(came)/float64(copied), "x-cp")
	b.ReportMetric(float64(came)/float64(synced), "x-rsync")
	rate := func(d time.Duration) string {
		return fmt.Sprintf("%v (%.0f MiB/s)", d.Round(time.Millisecond), float64(mib)/d.Seconds())
	}
	b.Logf("\n%d MiB: cp %s, rsync %s; into the folder %s, A to B %s", mib, rate(copied), rate(synced), rate(written), rate(came))
}

func freePort(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
