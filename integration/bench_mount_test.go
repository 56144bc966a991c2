package integration

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// place is somewhere that programs work: a disk, or something mounted.
type place struct {
	*account
	name string
	dir  string
	pid  int // of who serves it, 0 for a disk
}

// row is one kind of work. Its script runs in the place's directory, $1 being the
// directory of what was prepared.
type row struct {
	name   string
	before string   // not measured
	again  bool     // measured the second time: the kernel may have kept what it can
	cold   bool     // without what the kernel has cached
	work   []string // of role work
	script string   // else this
	dirty  bool     // leaves much to write to the disk
	aims   []aim
	user   []aim // of an ordinary user, if others
}

// aim is how much slower than something else the mount may be.
type aim struct {
	of   string
	most float64
}

// sizes of the benchmark, from the environment.
type sizes struct {
	mib, files, rounds int
	build              string
}

func sizesFromEnv() sizes {
	s := sizes{mib: 1024, files: 10000, rounds: 2, build: "cmd/gofmt"}
	if testing.Short() {
		s = sizes{mib: 64, files: 1000, rounds: 2, build: "text/template"}
	}
	for name, n := range map[string]*int{"SHEAF_BENCH_MIB": &s.mib, "SHEAF_BENCH_FILES": &s.files, "SHEAF_BENCH_ROUNDS": &s.rounds} {
		if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
			*n = v
		}
	}
	if p := os.Getenv("SHEAF_BENCH_BUILD"); p != "" {
		s.build = p
	}
	return s
}

// rows are the work whose speed is aimed at, in the order that it is done.
func (s sizes) rows() []row {
	size := fmt.Sprintf("%d MiB", s.mib)
	if s.mib%1024 == 0 {
		size = fmt.Sprintf("%d GiB", s.mib/1024)
	}
	files := strconv.Itoa(s.files)
	ext4 := func(most float64) []aim { return []aim{{"ext4", most}} }
	faster := []aim{{"loopback", 1}}
	opens := []aim{{"null", 1.25}, {"loopback", 0.5}}
	return []row{
		{name: "read " + size + ", warm", again: true, work: []string{"read", "big"}, aims: ext4(1.1), user: faster},
		{name: "read " + size + ", cold", cold: true, work: []string{"read", "big"}, aims: ext4(1.2), user: faster},
		// Cold, since ext4 would write into what it has just given back, and a folder, which
		// keeps the old version, into memory that was not in use yet.
		{name: "write " + size, before: "rm -f new", cold: true, work: []string{"write", "new", strconv.Itoa(s.mib)}, dirty: true, aims: ext4(1.5), user: faster},
		{name: "random 4 KiB reads", again: true, work: []string{"random", "big", "100000"}, aims: ext4(1.1), user: faster},
		{name: "stat of " + files + " files", again: true, script: "find small -size +100 -newer small", aims: []aim{{"null", 1.25}}},
		{name: "open, read, close " + files, again: true, work: []string{"open", "small"}, aims: opens},
		{name: "grep -r, " + files, again: true, script: "! grep -rF 'not in any' small", aims: opens},
		{name: "create " + files + " x 4 KiB", before: "mkdir made", work: []string{"create", "made", files}, dirty: true, aims: append(ext4(3), faster...)},
		{name: "rm -r, " + files, script: "rm -r made", aims: append(ext4(3), faster...)},
		{name: "tar x, Go", before: "rm -rf out; mkdir out", script: `tar xf "$1/go.tar" -C out`, dirty: true, aims: ext4(2)},
		{name: "git status, Go", again: true, script: "git -C go status --porcelain", aims: append(ext4(1.5), faster...)},
		{name: "go build " + s.build, before: `rm -rf "$CACHE"`, script: "cd go/src; go build -o /dev/null " + s.build, aims: ext4(1.05)},
	}
}

// BenchmarkMount does the same work on ext4 (or what the scratch directory is on), on
// go-fuse's loopback, on a server that only answers, and in a folder, as root and as an
// ordinary user, by turns. It prints the times as multiples of the first's, the best of
// SHEAF_BENCH_ROUNDS. SHEAF_BENCH_MIB, SHEAF_BENCH_FILES and SHEAF_BENCH_BUILD set the
// sizes, SHEAF_BENCH_ROWS and SHEAF_BENCH_AS (regular expressions) choose rows and users.
func BenchmarkMount(b *testing.B) {
	s, start := sizesFromEnv(), time.Now()
	var rows []row
	only := regexp.MustCompile(os.Getenv("SHEAF_BENCH_ROWS"))
	for _, r := range s.rows() {
		if only.MatchString(r.name) {
			rows = append(rows, r)
		}
	}
	places := benchPlaces(b)
	src := rig.Scratch(b, "source")
	if err := os.Chmod(src, 0o755); err != nil {
		b.Fatal(err)
	}
	root := asRoot(b)
	without := ""
	if testing.Short() {
		without = "--exclude=./src/cmd"
	}
	root.sh(b, src, `cd "$(go env GOROOT)"; tar cf "$1/go.tar" --exclude=./test --exclude=./api --exclude=./pkg --exclude=./bin $2 .`, src, without)
	for _, p := range places {
		start := time.Now()
		p.prepare(b, s, src, rows)
		b.Logf("%s of %s is ready after %v", p.name, p.account.name, time.Since(start).Round(time.Millisecond))
	}
	times, spent := newMeasures(rows, places), newMeasures(rows, places)
	for range s.rounds {
		for i, r := range rows {
			for j, p := range places {
				took, cpu := p.run(b, r, src)
				times.best(i, j, took)
				spent.best(i, j, cpu)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.Logf("%v, best of %d\n%s\nprocessor time of program and server, what is put off included\n%s",
		time.Since(start).Round(time.Second), s.rounds, benchTable(rows, places, times), benchTable(rows, places, spent))
}

// measures have a duration for each row and place.
type measures [][]time.Duration

func newMeasures(rows []row, places []place) measures {
	t := make(measures, len(rows))
	for i := range t {
		t[i] = make([]time.Duration, len(places))
	}
	return t
}

func (t measures) best(i, j int, d time.Duration) {
	if t[i][j] == 0 || d < t[i][j] {
		t[i][j] = d
	}
}

// benchPlaces makes the places, the disk first.
func benchPlaces(b *testing.B) []place {
	only := regexp.MustCompile(os.Getenv("SHEAF_BENCH_AS"))
	root := asRoot(b)
	places := []place{{account: root, name: "ext4", dir: rig.Scratch(b, "plain")}}
	accounts := []*account{root}
	if user, why := asUser(b); user != nil {
		accounts = append(accounts, user)
	} else {
		b.Logf("no ordinary user: %s", why)
	}
	for _, a := range accounts {
		if !only.MatchString(a.name) {
			continue
		}
		point, pid := a.folder(b)
		places = append(places,
			a.serve(b, "loopback", a.give(b, rig.Scratch(b, "below"))),
			a.serve(b, "null"),
			place{account: a, name: "sheaf", dir: point, pid: pid})
	}
	return places
}

// prepare makes what the rows work on.
func (p place) prepare(b *testing.B, s sizes, src string, rows []row) {
	b.Helper()
	var all string
	for _, r := range rows {
		all += r.script + " " + strings.Join(r.work, " ") + "\n"
	}
	p.sh(b, p.dir, "mkdir work", src)
	if strings.Contains(all, "big") {
		p.work(b, "write", "big", strconv.Itoa(s.mib))
	}
	if strings.Contains(all, "small") {
		p.sh(b, p.dir, "mkdir work/small", src)
		p.work(b, "create", "small", strconv.Itoa(s.files))
	}
	if strings.Contains(all, " go ") || strings.Contains(all, "cd go/") {
		p.sh(b, p.dir, `mkdir work/go; cd work/go; tar xf "$1/go.tar"; git init -q; git config gc.auto 0; git config maintenance.auto false; git add .
			git -c user.name=a -c user.email=a@b commit -qm x
			mkdir pkg; cp -r "$(go env GOROOT)/pkg/tool" "$(go env GOROOT)/pkg/include" pkg/`, src)
	}
	p.settle()
	unix.Sync()
}

// run does the work of a row and tells how long it took, and what processor time the
// program and the place's server spent on it, also after the program's end.
func (p place) run(b *testing.B, r row, src string) (took, cpu time.Duration) {
	b.Helper()
	if r.before != "" {
		p.sh(b, p.dir, "cd work; "+r.before, src)
	}
	if r.again {
		p.do(b, r, src)
	}
	p.settle()
	if r.cold {
		unix.Sync()
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			b.Skip("drop the caches: ", err)
		}
	}
	before := cpuOf(p.pid)
	took, cpu = p.do(b, r, src)
	p.settle()
	cpu += cpuOf(p.pid) - before
	if r.dirty {
		unix.Sync()
	}
	return took, cpu
}

func (p place) do(b *testing.B, r row, src string) (took, cpu time.Duration) {
	b.Helper()
	if r.work != nil {
		return p.work(b, r.work...)
	}
	return p.sh(b, p.dir, "cd work; "+r.script, src)
}

// work does what role work is told to, in the place.
func (p place) work(b *testing.B, args ...string) (took, cpu time.Duration) {
	b.Helper()
	cmd := p.role("work", args...)
	cmd.Dir = filepath.Join(p.dir, "work")
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%v in %s: %v", args, p.dir, err)
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(out)), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(n), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// sh runs a script in a directory and tells how long it took.
func (a *account) sh(b *testing.B, dir, script string, args ...string) (took, cpu time.Duration) {
	b.Helper()
	cmd := a.command(append([]string{"bash", "-ec", script, "bash"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "GIT_CONFIG_GLOBAL=/dev/null", "CACHE="+a.cache, "GOCACHE="+a.cache,
		"GOTOOLCHAIN=local", "GOPROXY=off", "GOFLAGS=", "CGO_ENABLED=0", "GOTELEMETRY=off")
	if strings.Contains(script, "go build") {
		cmd.Env = append(cmd.Env, "GOROOT="+filepath.Join(dir, "work/go"))
	}
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s in %s: %v\n%s", script, dir, err, out)
	}
	return time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// settle waits until the place's server has nothing more to do, so that what it puts
// off is not measured with the next place's work.
func (p place) settle() {
	for last, same := time.Duration(-1), 0; p.pid != 0 && same < 3; time.Sleep(50 * time.Millisecond) {
		if used := cpuOf(p.pid); used != last {
			last, same = used, 0
		} else {
			same++
		}
	}
}

// cpuOf is the processor time that a process has had.
func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, s := range f[11:13] { // utime and stime, in ticks of 10 ms
		n, _ := strconv.ParseInt(s, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// benchTable prints the times, and for each aim whether it was met.
func benchTable(rows []row, places []place, times measures) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "|")
	for _, p := range places {
		name := p.name
		if name != "ext4" {
			name += ", " + p.account.name
		}
		fmt.Fprintf(w, "\t| %s", name)
	}
	fmt.Fprintln(w, "\t| aims\t|")
	fmt.Fprintf(w, "%s\t|\n", strings.Repeat("|---\t", len(places)+2))
	for i, r := range rows {
		fmt.Fprintf(w, "| %s\t| %.1f ms", r.name, ms(times[i][0]))
		at := map[string]time.Duration{}
		var said []string
		for j, p := range places {
			at[p.name] = times[i][j]
			if j > 0 {
				fmt.Fprintf(w, "\t| %.2fx", float64(times[i][j])/float64(times[i][0]))
			}
			if p.name == "sheaf" {
				aims := r.aims
				if p.account.name == "user" && r.user != nil {
					aims = r.user
				}
				said = append(said, p.account.name+": "+aimsMet(aims, maps.Clone(at)))
			}
		}
		fmt.Fprintf(w, "\t| %s\t|\n", strings.Join(said, "; "))
	}
	w.Flush()
	return out.String()
}

func aimsMet(aims []aim, at map[string]time.Duration) string {
	var said []string
	for _, a := range aims {
		x := float64(at["sheaf"]) / float64(at[a.of])
		verdict := "met"
		if x > a.most {
			verdict = "missed"
		}
		said = append(said, fmt.Sprintf("%.2f of %s (%g, %s)", x, a.of, a.most, verdict))
	}
	return strings.Join(said, ", ")
}
