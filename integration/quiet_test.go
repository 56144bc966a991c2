package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// watchAll starts a watcher of everything in the device's folder, but for who opens and
// reads.
func watchAll(t *testing.T, d *rig.Device) *book {
	t.Helper()
	b := listen(t, d, "inotifywait", "-m", "-r", "-e", "modify,attrib,close_write,create,delete,move,delete_self,move_self,unmount",
		"--format", "%e %w%f", ".")
	b.heard(t, "inotifywait", 0, "Watches established.")
	return b
}

// TestNoEventWithoutChange: programs on B that watch hear nothing of what changes nothing.
func TestNoEventWithoutChange(t *testing.T) {
	need(t, "inotifywait", "ip", "nsenter", "tail")
	a, b := rig.Pair(t, rig.NewNet(t))
	a.Shell(`mkdir dir; printf 'one\ntwo\nthree\n' | tee f > dir/g; head -c 9000 /dev/urandom > bin; ln -s f link; : > sentinel; seq 9 | tee old older gone > undone; chmod 600 gone`)
	sameTrees(t, a, b)
	all := watchAll(t, b)
	sentinels := 0
	// quiet has A change a file of its own, whose events come after all of what was before, and
	// checks that there are no others.
	quiet := func(t *testing.T, what string, from int) {
		t.Helper()
		sentinels++
		a.On(t).Shell(`echo "$1" >> sentinel`, fmt.Sprint(sentinels))
		rig.Sees(t, "sentinel", numbers(sentinels), b)
		all.heard(t, "inotifywait", from, "CLOSE_WRITE,CLOSE sentinel")
		for _, l := range all.since(from) {
			if !strings.HasSuffix(l, " sentinel") {
				t.Errorf("%s: heard %q", what, l)
			}
		}
	}
	// Both do the same while they are apart; then A does something and undoes it again.
	same := []string{`sed -i s/two/zwei/ f`, `sed s/one/eins/ dir/g > ../kept; cat ../kept > dir/g`, `echo new > new`, `mkdir -p deep/er`,
		`chmod 640 old`, `mv older oldest`, `rm gone`, `seq 5000 | tr '\n' '\0' > bin`}
	apart := func(t *testing.T) {
		b.On(t).Shell(`cat undone > /dev/null`)
		connected(t, b, 1)
		b.Cut()
		connected(t, b, 0)
		a.On(t).Shell(strings.Join(same, "\n") + `
cp undone ../kept; echo more >> undone; sync undone; cat undone > ../more; cat ../kept > undone`)
		from := all.mark()
		b.On(t).Shell(strings.Join(same, "\n") + "\ntouch last")
		all.heard(t, "inotifywait", from, "CREATE last", "CLOSE_WRITE,CLOSE last")
		b.On(t).Sheaf("sync", b.Point) // what has just been written is in the folder, too
		from = all.mark()
		b.Mend()
		connected(t, b, 1)
		quiet(t, "the same on both", from)
	}
	on := func(d *rig.Device, do string) func(t *testing.T) {
		return func(t *testing.T) {
			from := all.mark()
			d.On(t).Shell(do)
			quiet(t, do, from)
		}
	}
	for _, step := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"a save equal to the text", on(a, `cat f > ../kept; cat ../kept > f`)},
		{"the same by a rename", on(a, `cp f ../kept; cp ../kept f.tmp; mv f.tmp f`)},
		{"the same object again", on(a, `cp bin ../kept; cat ../kept > bin`)},
		{"the mode that it has", on(a, `chmod 600 gone`)},
		{"a temporary file", on(a, `echo x > x.tmp; rm x.tmp; mktemp -p . | xargs rm`)},
		{"reads, here", on(b, `ls -lR . > /dev/null; grep -r two . > /dev/null; cat f bin link > /dev/null; find . -newer f > /dev/null`)},
		{"reads, there", on(a, `ls -lR . > /dev/null; grep -r two . > /dev/null; cat f bin link > /dev/null`)},
		{"sync", on(a, `sync f; sync`)},
		{"the same on both", apart},
		{"status and others", func(t *testing.T) {
			from := all.mark()
			for _, d := range []*rig.Device{a.On(t), b.On(t)} {
				d.Sheaf("status", "--json")
				d.Sheaf("log", d.Path("f"))
				d.Sheaf("sync", "--wait", d.Point)
				d.Sheaf("expire", "--keep-all", "1s", "--keep-daily", "1s", "--now")
				d.Shell("cat .sheaf/status; ls .sheaf/history/f")
			}
			quiet(t, "status", from)
		}},
		{"presence", func(t *testing.T) {
			from := all.mark()
			a := a.On(t)
			cmd := a.Command(t.Context(), "tail", "-f", "dir/g")
			cmd.Dir = a.Point
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			says := func(want bool) {
				rig.Until(t, fmt.Sprint("b names a reader: ", want), func() error {
					if got := strings.Contains(b.On(t).Sheaf("status"), "reading dir/g"); got != want {
						return fmt.Errorf("names: %v", got)
					}
					return nil
				})
			}
			says(true)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			says(false)
			quiet(t, "presence", from)
		}},
		{"a restart of the other daemon", func(t *testing.T) {
			from := all.mark()
			a.On(t).Sheaf("down")
			a.On(t).Sheaf("up")
			connected(t, a, 1)
			quiet(t, "a restart", from)
		}},
		{"the end of the other daemon", func(t *testing.T) {
			from := all.mark()
			pid := a.PID()
			a.On(t).Kill(pid)
			rig.Until(t, "a is up again", func() error {
				if s, err := a.Status(); err != nil || !s.Running || s.PID == pid {
					return fmt.Errorf("%+v, %v", s, err)
				}
				_, err := a.Read("f")
				return err
			})
			connected(t, a, 1)
			quiet(t, "a crash", from)
		}},
	} {
		t.Run(step.name, step.do)
		if rig.Small() && t.Failed() {
			return
		}
	}
	sameTrees(t, a, b)
}

// numbers are the lines 1 to n.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

// TestBursts: many changes make few events: of each file of a checkout what one change
// makes, of a log that streams two a second, and at the end always one.
func TestBursts(t *testing.T) {
	need(t, "inotifywait", "git")
	a, b := rig.Pair(t, nil)
	files, appends := 500, 200
	if rig.Small() {
		files, appends = 50, 50
	}
	git := `export HOME=/nonexistent GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=n@example.org GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=n@example.org; `
	a.Shell(git+`mkdir src; echo begin > log; git init -q -b main .; git add src log; git commit -qm one
git checkout -qb other; for i in $(seq "$1"); do echo $i > src/$i; done; git add src; git commit -qm two
for i in $(seq "$1"); do echo more >> src/$i; done; git add src; git commit -qm three; git checkout -q main; mkdir -p src; echo here > src/here`, fmt.Sprint(files))
	sameTrees(t, a, b)
	all := watchAll(t, b)
	const once, twice = 1, 2 // on a slow machine git's removal of a file may be over before it makes it anew
	for _, step := range []struct {
		name, do string
		most     int    // of each event, of one file
		last     string // the event that every file has
	}{
		{"new files", `git checkout -q other~1`, once, "CREATE"},
		{"other contents", `git checkout -q other`, twice, "MODIFY"},
		{"removals", `git checkout -q main`, once, "DELETE"},
	} {
		t.Run(step.name, func(t *testing.T) {
			from := all.mark()
			a.On(t).Shell(git + step.do)
			var counts map[string]int
			rig.Until(t, "every file is heard of", func() error {
				counts = map[string]int{}
				named := 0
				for _, l := range all.since(from) {
					counts[l]++
					event, file, _ := strings.Cut(l, " src/")
					if _, err := strconv.Atoi(file); err == nil && event == step.last && counts[l] == 1 {
						named++
					}
				}
				if named != files {
					return fmt.Errorf("%d of %d", named, files)
				}
				return nil
			})
			sameTrees(t, a, b)
			var wrong []string
			for _, l := range all.since(from) {
				if counts[l] > step.most {
					wrong = append(wrong, fmt.Sprintf("%d times %q", counts[l], l))
				}
			}
			if slices.Sort(wrong); len(wrong) > 0 {
				wrong = slices.Compact(wrong)
				t.Errorf("%d lines too many, such as:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
			}
		})
	}
	t.Run("a log", func(t *testing.T) {
		looks := listen(t, b, "sh", "-c", `inotifywait -q -m -e modify --format heard log | while read -r heard; do wc -c < log; done`)
		watched(t, b, "log")
		from, began := all.mark(), time.Now()
		a.On(t).Shell(`for i in $(seq "$1"); do echo $i >> log; sleep 0.005; done`, fmt.Sprint(appends))
		rig.Sees(t, "log", "begin\n"+numbers(appends), b)
		took := time.Since(began)
		// Who looks at every event has seen all of it in the end.
		looks.heard(t, "who looks", 0, fmt.Sprint(len("begin\n"+numbers(appends))))
		count := 0
		for _, l := range all.since(from) {
			if l == "MODIFY log" {
				count++
			}
		}
		if most := 2 * (int(took.Seconds()) + 2); count == 0 || count > most {
			t.Errorf("heard of it %d times in %v", count, took)
		}
	})
}
