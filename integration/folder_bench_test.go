package integration

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/crdttest"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/integration/rig"
)

// BenchmarkFolder measures what the folder costs: saves, an import, a start, memory, disk.
// Whatever the row says of a daemon is measured on the shipped binary from outside.
// SHEAF_BENCH_FILES sets how many files are imported, 100,000 by default.
func BenchmarkFolder(b *testing.B) {
	files := 100_000
	if n, err := strconv.Atoi(os.Getenv("SHEAF_BENCH_FILES")); err == nil {
		files = n
	}
	t := &table{b: b}
	b.Run("saves", func(b *testing.B) { benchSaves(b, t) })
	b.Run("sizes", func(b *testing.B) { benchSizes(b, t) })
	b.Run("feed", func(b *testing.B) { benchFeed(b, t) })
	b.Run("tree", func(b *testing.B) { benchTree(b, t, files) })
	t.print()
}

// table is what a benchmark prints in the end.
type table struct {
	b    *testing.B
	rows [][4]string // what, measured, against what, the aim
}

func (t *table) row(what, measured, peer string) {
	t.rows = append(t.rows, [4]string{what, measured, peer, ""})
}

// aimed is row for what has an aim.
func (t *table) aimed(what, measured, peer, aim string, met bool) {
	verdict := ": missed"
	if met {
		verdict = ": met"
	}
	t.rows = append(t.rows, [4]string{what, measured, peer, aim + verdict})
}

func (t *table) print() {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r[0], r[1], r[2], r[3])
	}
	w.Flush()
	t.b.ReportMetric(0, "ns/op")
	t.b.Logf("\n%s", out.String())
}

// prose is text of n bytes that compresses about as writing does, and is another one for
// each seed.
func prose(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	var s strings.Builder
	for s.Len() < n {
		for range 6 + r.IntN(8) {
			word := r.IntN(4000)
			fmt.Fprintf(&s, "%s%s ", syllables[word%len(syllables)], syllables[word/len(syllables)%len(syllables)])
		}
		s.WriteString("\n")
	}
	return s.String()[:n-1] + "\n"
}

var syllables = strings.Fields(`an be cor del en fir gra hol in jo kel lan mor no op pra qui
	ra sol tan ul ver wan xi yor zen al bri con da er fol ge his it jun ker lo mi ne or po re
	sa ti un va wo ya zu ab bel cha di el fo go ho is ja ka li ma nu`)

// median runs fn n times and returns the middle one.
func median(b *testing.B, n int, fn func(i int) error) time.Duration {
	b.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		if err := fn(i); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[n/2]
}

// saveSynced is save with an fsync before the file is closed.
func saveSynced(path string, content []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	if _, err = unix.Write(fd, content); err == nil {
		err = unix.Fsync(fd)
	}
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return err
}

// benchSaves saves a text of 10 KB again and again, each time with another line changed: in
// the mount, in the folder alone, and on the disk below.
func benchSaves(b *testing.B, t *table) {
	const n = 200
	a := rig.NewDevice(b, "a", nil)
	a.Init()
	below := rig.Scratch(b, "plain")
	lines := strings.SplitAfter(prose(1, 10<<10), "\n")
	saves := 0
	text := func() []byte {
		saves++
		at := saves * 7 % len(lines)
		lines[at] = fmt.Sprintf("line %d was changed in save %d\n", at, saves)
		return []byte(strings.Join(lines, ""))
	}
	mounted, plain := a.Path("f.txt"), filepath.Join(below, "f.txt")
	for _, p := range []string{mounted, plain} {
		if err := save(p, text()); err != nil {
			b.Fatal(err)
		}
	}
	// Not faster than a person's programs: each save is an event of its own.
	pace := func(fn func(string, []byte) error, path string) time.Duration {
		took := make([]time.Duration, n)
		for i := range took {
			content := text()
			start := time.Now()
			if err := fn(path, content); err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(start)
			time.Sleep(max(0, 10*time.Millisecond-took[i]))
		}
		slices.Sort(took)
		return took[n/2]
	}
	took := pace(save, mounted)
	t.aimed("save of one changed line, 10 KB file, in the mount", show(took), "on the disk below "+show(pace(save, plain)),
		"< 1 ms", took < time.Millisecond)

	appended, err := os.OpenFile(filepath.Join(below, "appended"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer appended.Close()
	bare := median(b, n, func(int) error {
		if _, err := appended.Write(make([]byte, 300)); err != nil {
			return err
		}
		return unix.Fdatasync(int(appended.Fd()))
	})
	took = pace(saveSynced, mounted)
	t.aimed("the same with fsync", show(took),
		fmt.Sprintf("on the disk below %s, 300 bytes appended and synced %s", show(pace(saveSynced, plain)), show(bare)),
		"< 1 ms + one fsync", took < time.Millisecond+bare)

	f, node, v := newFolder(b, "x", string(text()))
	write := func(sync bool) func(int) error {
		return func(i int) error {
			err := f.Update(func(tx *crdt.Tx) (err error) {
				v, err = tx.Write(node, v, crdt.NewContent{Text: string(text())})
				return err
			})
			if err == nil && sync {
				err = f.Sync()
			}
			return err
		}
	}
	t.row("the same in the folder alone", show(median(b, n, write(false))), "with sync "+show(median(b, n, write(true))))

	sizes := make([]int, n)
	for i := range sizes {
		at := f.Last()
		if err := write(false)(i); err != nil {
			b.Fatal(err)
		}
		for _, l := range since(b, f, at) {
			sizes[i] += len(l.Entry.Bytes())
		}
	}
	slices.Sort(sizes)
	t.aimed("feed bytes for it", fmt.Sprint(sizes[n/2]), fmt.Sprintf("at most %d", sizes[n-1]), "<= 300", sizes[n/2] <= 300)
}

func newFolder(b *testing.B, name, text string) (*crdt.Folder, crdt.NodeID, crdt.Version) {
	b.Helper()
	h, err := crdt.Init(filepath.Join(rig.Scratch(b, name), "home"), crdt.Options{DeviceName: name})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.Close() })
	f, err := h.CreateFolder("folder")
	if err != nil {
		b.Fatal(err)
	}
	var node crdt.NodeID
	var v crdt.Version
	err = f.Update(func(tx *crdt.Tx) (err error) {
		node, v, err = tx.Create(crdt.Root, "f.txt", 0o644, crdt.NewContent{Text: text})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return f, node, v
}

func since(b *testing.B, f *crdt.Folder, at uint64) []crdt.Local {
	b.Helper()
	ls, err := f.Since(at, 1<<30)
	if err != nil {
		b.Fatal(err)
	}
	return ls
}

// benchTree imports many files, and looks at the daemon that holds them.
func benchTree(b *testing.B, t *table, files int) {
	a := rig.NewDevice(b, "a", nil)
	src := rig.Scratch(b, "source")
	const size = 4 << 10
	makeTree(b, src, files, size)
	copied := func() time.Duration {
		start := time.Now()
		run(b, "cp", "-r", src, filepath.Join(rig.Scratch(b, "copy"), "tree"))
		return time.Since(start)
	}()
	run(b, "cp", "-rT", src, a.Point)

	start := time.Now()
	if r := a.TryIn(30*time.Minute, "", "init", "--device", "a", "--import", a.Point); r.Code != 0 {
		b.Fatal(r)
	}
	took := time.Since(start)
	pid := a.PID()
	rate := float64(files) / took.Seconds()
	t.aimed(fmt.Sprintf("import of %d files of 4 KB, compared with the original", files),
		fmt.Sprintf("%s, %.0f files/s, %s of the daemon's processor time", show(took), rate, show(used(b, pid))),
		fmt.Sprintf("cp -r %s", show(copied)), ">= 5,000 files/s", rate >= 5000)
	most := status(b, pid, "VmHWM") >> 20
	t.aimed("resident at most meanwhile", fmt.Sprintf("%d MB", most), "", "< 250 MB", most < 250)

	a.Sheaf("down")
	disk, inodes := usage(b, a.Home)
	content := int64(files) * size
	packed := filepath.Join(rig.Scratch(b, "packed"), "tree.tar.gz")
	run(b, "tar", "czf", packed, "-C", src, ".")
	fi, err := os.Stat(packed)
	if err != nil {
		b.Fatal(err)
	}
	store, history := float64(disk)/float64(content), float64(fi.Size())/float64(content)
	t.aimed("store on disk", fmt.Sprintf("%.2f x content (%d MB in %d files)", store, disk>>20, inodes),
		fmt.Sprintf("tar.gz %.2f x content", history), "<= 1.3 x content + compressed history", store <= 1.3+history)

	start = time.Now()
	a.Sheaf("up")
	up := time.Since(start)
	a.Shell("ls > /dev/null")
	took = time.Since(start)
	pid = a.PID()
	t.aimed("start of the daemon with that tree, to the first ls", fmt.Sprintf("%s, %s of processor time", show(took), show(used(b, pid))),
		"until the command returned "+show(up), "< 1 s", took < time.Second)
	t.row("resident after the start", fmt.Sprintf("%d MB", settled(b, pid)>>20), fmt.Sprintf("at most %d MB", status(b, pid, "VmHWM")>>20))

	start = time.Now()
	if n := strings.TrimSpace(a.Shell("find . | wc -l")); n < strconv.Itoa(files) && len(n) <= len(strconv.Itoa(files)) {
		b.Fatalf("find found %s", n)
	}
	took = time.Since(start)
	start = time.Now()
	run(b, "find", src, "-fprint", "/dev/null")
	t.row("find . in it, the first", show(took), "on the disk below "+show(time.Since(start)))
	rest := settled(b, pid) >> 20
	t.aimed("resident at rest after it", fmt.Sprintf("%d MB, of which %d MB are the program's own pages", rest, status(b, pid, "RssFile")>>20),
		fmt.Sprintf("at most %d MB", status(b, pid, "VmHWM")>>20), "< 100 MB", rest < 100)
	start = time.Now()
	a.Shell("find . -type f -size +1M")
	t.row("find . with a stat of each", show(time.Since(start)), fmt.Sprintf("then resident %d MB", settled(b, pid)>>20))
}

// makeTree fills a directory with files of prose, 1,000 in a directory.
func makeTree(b *testing.B, dir string, files, size int) {
	b.Helper()
	for i := range files {
		sub := filepath.Join(dir, fmt.Sprintf("part%03d", i/1000))
		if i%1000 == 0 {
			if err := os.Mkdir(sub, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("chapter-%05d.txt", i)), []byte(prose(uint64(i), size)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

func run(b *testing.B, argv ...string) {
	b.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

// usage sums up what the files below a directory take on the disk.
func usage(b *testing.B, dir string) (bytes int64, files int) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		bytes += st.Blocks * 512
		files++
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return bytes, files
}

// status reads a size of a process, in bytes.
func status(b *testing.B, pid int, field string) int64 {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), field+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(v, "kB")), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n << 10
		}
	}
	b.Fatalf("no %s of process %d", field, pid)
	return 0
}

// used is what a process has used of the processors.
func used(b *testing.B, pid int) time.Duration {
	b.Helper()
	s, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// After the name in parentheses; utime and stime are the 14th and 15th of all, in ticks of 10 ms.
	fields := strings.Fields(string(s[strings.LastIndexByte(string(s), ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// settled waits until a process has given back what it will, at most half a minute.
func settled(b *testing.B, pid int) int64 {
	least, since := status(b, pid, "VmRSS"), time.Now()
	for start := time.Now(); time.Since(start) < 30*time.Second && time.Since(since) < 11*time.Second; time.Sleep(100 * time.Millisecond) {
		if n := status(b, pid, "VmRSS"); n < least-1<<20 {
			least, since = n, time.Now()
		}
	}
	return least
}

// benchFeed has another device take in entries of one line each.
func benchFeed(b *testing.B, t *table) {
	const n = 20_000
	for _, files := range []int{1, 1000} {
		var nodes []crdt.NodeID
		f, _, _ := newFolder(b, "source", "")
		for i := range files {
			err := f.Update(func(tx *crdt.Tx) error {
				node, _, err := tx.Create(crdt.Root, fmt.Sprintf("%d", i), 0o644, crdt.NewContent{Text: prose(uint64(i), 1000)})
				nodes = append(nodes, node)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		for i := range n {
			err := f.Update(func(tx *crdt.Tx) error {
				_, err := tx.Append(nodes[i%files], []byte("one more line\n"))
				return err
			})
			if err == nil {
				_, err = f.Frontier() // an entry of its own
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		took, busy := receive(b, f, n)
		rate := float64(n) / took.Seconds()
		t.aimed(fmt.Sprintf("%d entries of one line, over %d files, received and applied", n, files),
			fmt.Sprintf("%.0f/s", rate), fmt.Sprintf("%s of processor time each", show(busy/n)), ">= 5,000/s", rate >= 5000)
	}
}

// receive hands all entries of a folder to a new device, as a peer does, and returns how
// long it took to take in the last n, on the clock and of the processors.
func receive(b *testing.B, f *crdt.Folder, n int) (took, busy time.Duration) {
	b.Helper()
	h, err := crdt.Init(filepath.Join(rig.Scratch(b, "target"), "home"), crdt.Options{DeviceName: "target"})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	to := crdttest.Share(b, f, h)
	var es []*feed.Entry
	for _, l := range since(b, f, 0) {
		es = append(es, l.Entry)
	}
	first := len(es) - n
	if _, err := to.Receive(es[:first]); err != nil {
		b.Fatal(err)
	}
	start, before := time.Now(), processorTime()
	for batch := range slices.Chunk(es[first:], 256) {
		if _, err := to.Receive(batch); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start), processorTime() - before
}

// processorTime is what this process has used: on a busy machine it says more than the clock.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// show gives a duration with three digits that mean something.
func show(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
