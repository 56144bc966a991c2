package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/integration/lossyfs"
	"github.com/sheaf-fs/sheaf/integration/rig"
)

// null is a FUSE server that only answers, from memory.
func null(args []string) int {
	s, err := lossyfs.New(0).Cached().Mount(args[0])
	return untilStdinEnds(s, err)
}

// loopback is go-fuse's example: a FUSE server that hands everything to a directory.
func loopback(args []string) int {
	root, err := fs.NewLoopbackRoot(args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	second := time.Second
	s, err := fs.Mount(args[0], root, &fs.Options{EntryTimeout: &second, AttrTimeout: &second, NullPermissions: true,
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: args[1], Name: "loopback"}})
	return untilStdinEnds(s, err)
}

func untilStdinEnds(s *fuse.Server, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = s.Unmount()
	return 0
}

// serve starts a role that mounts something at a new directory.
func serve(b *testing.B, role string, args ...string) string {
	b.Helper()
	point := rig.Scratch(b, role)
	cmd := rig.StartRole(role, append([]string{point}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait(); rig.Detach(point) })
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		b.Fatal(err)
	}
	return point
}

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

// BenchmarkMount runs the same commands on ext4 (or what the scratch directory is on),
// on go-fuse's loopback, on a server that only answers, and in a folder, by turns, and
// prints the times as multiples of the first.
func BenchmarkMount(b *testing.B) {
	a := rig.NewDevice(b, "a", nil)
	a.Init()
	places := []struct{ name, dir string }{
		{"ext4", rig.Scratch(b, "plain")},
		{"loopback", serve(b, "loopback", rig.Scratch(b, "below"))},
		{"null", serve(b, "null")},
		{"sheaf", a.Point},
	}
	src := rig.Scratch(b, "source")
	sh := func(dir, script string, args ...string) time.Duration {
		b.Helper()
		cmd := exec.Command("bash", append([]string{"-ec", script, "bash"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_OPTIONAL_LOCKS=0")
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s in %s: %v\n%s", script, dir, err, out)
		}
		return time.Since(start)
	}
	sh(src, `mkdir tree; for d in $(seq 40); do mkdir tree/$d; for f in $(seq 25); do
		printf 'package p%d\n%s\n' $d "$(seq $((d*f)) $((d*f+200)) | tr '\n' ' ')" > tree/$d/$f.go; done; done
		tar cf tree.tar tree; head -c 67108864 /dev/urandom > big.bin`)
	for _, p := range places {
		sh(p.dir, `cp "$1/big.bin" .; cp -r "$1/tree" git; cd git; git init -q; git add .
			git -c user.name=a -c user.email=a@b commit -qm x`, src)
	}
	tests := []struct{ name, script string }{
		{"warm read, 64 MiB", `cat big.bin > /dev/null`},
		{"warm read, 1000 files", `find git -name '*.go' -exec cat {} + > /dev/null`},
		{"stat, 1000 files", `ls -lR git > /dev/null`},
		{"git status", `git -C git status --porcelain`},
		{"grep -r", `! grep -r --include='*.go' 'no such text' git`},
		{"tar x, 1000 files", `tar xf "$1/tree.tar"`},
		{"rm -r, 1000 files", `rm -r tree`},
	}
	times := make([][]time.Duration, len(tests))
	for i := range tests {
		times[i] = make([]time.Duration, len(places))
	}
	const rounds = 5
	for r := range rounds + 1 {
		for i, t := range tests {
			for j, p := range places {
				took := sh(p.dir, t.script, src)
				if r > 0 && (times[i][j] == 0 || took < times[i][j]) { // the first round warms
					times[i][j] = took
				}
			}
		}
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "best of 5\t")
	for _, p := range places {
		fmt.Fprintf(w, "%s\t", p.name)
	}
	fmt.Fprintln(w)
	for i, t := range tests {
		fmt.Fprintf(w, "%s\t%.1f ms\t", t.name, ms(times[i][0]))
		for j := 1; j < len(places); j++ {
			x := float64(times[i][j]) / float64(times[i][0])
			fmt.Fprintf(w, "%.1fx\t", x)
			if places[j].name == "sheaf" {
				b.ReportMetric(x, strings.ReplaceAll(strings.ReplaceAll(t.name, " ", "-"), ",", "")+"-x")
			}
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	b.ReportMetric(0, "ns/op")
	b.Logf("\n%s", out.String())
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
