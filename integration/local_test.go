package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// shared lists what is in a device's folder but for repositories.
func shared(d *rig.Device) (string, error) {
	return d.TryShell("", `find . -mindepth 1 -name .git -prune -o -printf '%P\n' | LC_ALL=C sort`)
}

// absent waits until the devices are in step and checks that a path is on none of them.
func absent(t *testing.T, path string, ds ...*rig.Device) {
	t.Helper()
	for _, d := range ds {
		d.Sheaf("sync", "--wait", "--timeout", "20s")
		if _, err := d.TryShell("", `ls -d -- "$1"`, path); err == nil {
			t.Fatalf("%s is shared: it is on %s", path, d.Name)
		}
	}
}

const whoIsIt = `export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@example.org GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@example.org; `

// TestGitInside: a repository in a shared folder is this device's, works while another
// device edits the working tree, and what git changes at once arrives at once. The other
// device attaches a repository of its own to the same working tree.
func TestGitInside(t *testing.T) {
	need(t, "git")
	a, b := rig.Pair(t, nil)
	a.Shell(whoIsIt + `git init -q -b main p && cd p && for i in $(seq 20); do echo "one $i" > f$i; done && git add . && git commit -qm one &&
		git checkout -q -b side && rm f1 f2 && for i in $(seq 3 20); do echo "two $i" > f$i; done && mkdir d && echo two > d/f && git add -A && git commit -qm two`)
	rig.Sees(t, "p/f20", "two 20\n", a, b)
	rig.Sees(t, "p/d/f", "two\n", a, b)
	absent(t, "p/.git", b)
	connected(t, a, 1)

	// A checkout is one entry, which b gets whole.
	before := entries(t, a)
	a.Shell(`cd p && git checkout -q main`)
	rig.Sees(t, "p/f1", "one 1\n", a, b)
	rig.Until(t, "b has the whole checkout", func() error {
		_, err := b.TryShell("", `cd p && [ "$(cat f*)" = "$(for i in 1 10 11 12 13 14 15 16 17 18 19 2 20 3 4 5 6 7 8 9; do echo one $i; done)" ] && ! ls d`)
		return err
	})
	if n := entries(t, a) - before; n != 1 {
		t.Errorf("a checkout made %d entries", n)
	}
	rig.Until(t, "b is told where a's HEAD is", func() error {
		s, err := b.Status()
		if err != nil {
			return err
		}
		for _, h := range s.Folders[0].Heads {
			if h.Path == "p" && h.Device == "a" && strings.HasPrefix(h.Head, "main ") {
				return nil
			}
		}
		return fmt.Errorf("%+v", s.Folders[0].Heads)
	})

	// git works, while b goes on editing.
	rounds := 5
	if rig.Small() {
		rounds = 2
	}
	for i := range rounds {
		b.Shell(`echo "b edits $1" >> p/notes.txt; echo "b edits $1" >> p/f5`, fmt.Sprint(i))
		a.Shell(whoIsIt+`cd p && echo "a edits $1" > g$1 && git add -A && git commit -qm "round $1" && git branch "r$1" && git reset -q && git log --oneline | head -1`, fmt.Sprint(i))
	}
	a.Shell(whoIsIt + `cd p && git add -A && { git diff --cached --quiet || git commit -qm rest; } && git gc -q && git worktree add -q ../w side && git fsck --strict && cd ../w && git fsck && git status`)
	rig.Until(t, "everybody's lines", func() error {
		all, err := b.TryShell("", `cat p/notes.txt p/f5 p/g*`)
		if err != nil {
			return err
		}
		var lines []string
		for i := range rounds {
			lines = append(lines, fmt.Sprintf("a edits %d", i))
			if n := strings.Count(all, fmt.Sprintf("b edits %d\n", i)); n != 2 {
				return fmt.Errorf("b's line %d is there %d times:\n%s", i, n, all)
			}
		}
		return everyLine(all, lines...)
	})

	// The recipe of the README, with a's repository as the origin.
	a.Shell(whoIsIt + `cd p && git add -A && { git diff --cached --quiet || git commit -qm rest; }; git bundle create -q ../p.bundle --all`)
	rig.Until(t, "b has the bundle", func() error { _, err := b.TryShell("", "git bundle list-heads p.bundle"); return err })
	b.Shell(`cd p && git init -q -b main && git remote add origin ../p.bundle && git fetch -q && git reset -q origin/main && git branch -q -u origin/main && git fsck --strict`)
	rig.Until(t, "a clean working tree on b", func() error {
		out, err := b.TryShell("", `cd p && git status --porcelain`)
		if err == nil && out != "" {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	a.Shell(`cd p && [ -z "$(git status --porcelain)" ] && git fsck --strict`)
}

func entries(t *testing.T, d *rig.Device) int {
	t.Helper()
	d.Sheaf("sync")
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s.Folders[0].Entries
}

// TestLocalOnly: what rules and proof keep on a device stays there, follows moves by others,
// outlives their rm -r, and is listed; a member's rules can only exclude.
func TestLocalOnly(t *testing.T) {
	need(t, "git")
	a, b := rig.Pair(t, nil)
	a.Write(".sheafignore", "*.log\n/out/\n")
	a.Write("package.json", "{}\n")
	rig.Sees(t, "package.json", "{}\n", b)
	rig.Sees(t, ".sheafignore", "*.log\n/out/\n", b)
	a.Shell(`mkdir -p node_modules/x out crate; echo x > node_modules/x/index.js; echo x > out/o; echo x > a.log
		touch crate/Cargo.toml; mkdir crate/target; head -c 4096 /dev/zero > crate/target/bin
		mkdir .cache; printf 'Signature: 8a477f597d28d172789f06886806bc55\n' > .cache/CACHEDIR.TAG; echo x > .cache/x
		echo last > last`)
	b.Shell(`echo b > b.log`)
	rig.Sees(t, "last", "last\n", b)
	for _, p := range []string{"node_modules", "out", "a.log", "crate/target", ".cache/CACHEDIR.TAG", ".cache/x"} {
		absent(t, p, b)
	}
	absent(t, "b.log", a)

	// A rename across the boundary shares or keeps, without EXDEV.
	a.Shell(`python3 -c 'import os; os.rename("a.log", "a.txt"); os.rename("last", "last.log"); os.rename("out", "shown")'`)
	rig.Sees(t, "a.txt", "x\n", b)
	rig.Sees(t, "shown/o", "x\n", b)
	rig.Until(t, "last is gone", func() error {
		if _, err := b.Read("last"); err == nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	rig.Sees(t, "last.log", "last\n", a)

	// b moves the directory, then removes it.
	b.Shell(`mv crate box`)
	rig.Until(t, "target follows", func() error { _, err := a.TryShell("", "cmp -n 4096 box/target/bin /dev/zero"); return err })
	b.Shell(`rm -r box`)
	rig.Until(t, "only target is left", func() error {
		out, err := a.TryShell("", `find box -type f`)
		if err == nil && out != "box/target/bin\n" {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	s, err := a.Status()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.Folders[0].Local); !strings.Contains(got, "{box/target 1 4096}") || !strings.Contains(got, "{node_modules 1 2}") {
		t.Errorf("status lists %s", got)
	}

	// This device's rules come first, whatever the shared ones say.
	a.Sheaf("share", a.Path("wanted.log"))
	a.Write("wanted.log", "wanted\n")
	rig.Sees(t, "wanted.log", "wanted\n", b)

	// A hostile member's rules: nothing of this device's is shared, nothing shared goes.
	a.Shell(`git init -q`)
	b.Shell(`{ printf '!.git\n!.git/**\n!node_modules\n!*.log\n'; for i in $(seq 20000); do echo '*a*b*c*d*e*f*g*h*i*'; done; } > .sheafignore`)
	rig.Until(t, "a has the rules", func() error {
		out, err := a.TryShell("", `wc -l < .sheafignore`)
		if err == nil && strings.TrimSpace(out) != "20004" {
			err = fmt.Errorf("%s lines", out)
		}
		return err
	})
	a.Shell(`git init -q again; echo x > seen`)
	rig.Sees(t, "seen", "x\n", b)
	for _, p := range []string{".git", "again/.git", "node_modules", "last.log"} {
		absent(t, p, b)
	}
	rig.Sees(t, "a.txt", "x\n", a, b)
}

// TestDatabase: SQLite on a mount. While a program is at work beside a database, in either
// journal mode, the other device has the last whole version, and then the next.
func TestDatabase(t *testing.T) {
	need(t, "python3")
	for _, mode := range []string{"wal", "delete"} {
		a, b := rig.Pair(t, nil)
		a.Shell(`exec python3 -c '
import sqlite3, sys
c = sqlite3.connect("x.db")
c.execute("create table t (n)")
c.executemany("insert into t values (?)", [(i,) for i in range(100)])
c.commit()
c.close()'`)
		count := `exec python3 -c '
import sqlite3
c = sqlite3.connect("file:x.db?immutable=1&mode=ro", uri=True)
assert c.execute("pragma integrity_check").fetchone()[0] == "ok"
print(c.execute("select count(*) from t").fetchone()[0])'`
		holds := func(want string) func() error {
			return func() error {
				got, err := b.TryShell("", count)
				if err == nil && strings.TrimSpace(got) != want {
					err = fmt.Errorf("%s rows", strings.TrimSpace(got))
				}
				return err
			}
		}
		rig.Until(t, "100 rows on b", holds("100"))
		whole := b.Shell(`sha256sum < x.db`)
		// The program is killed in the middle: its journal stays, and its handles are closed.
		a.Shell(`exec python3 -c '
import sqlite3, sys, os
c = sqlite3.connect("x.db", isolation_level=None)
c.execute("pragma journal_mode=" + sys.argv[1])
c.execute("pragma cache_size=1")
c.execute("pragma cache_spill=1")
c.execute("begin")
c.executemany("insert into t values (?)", [("x" * 3000,) for i in range(1000)])
if sys.argv[1] == "wal":
    c.execute("commit")
os._exit(0)' "$@"`, mode)
		a.Write("mark", mode)
		rig.Sees(t, "mark", mode, b)
		absent(t, "x.db-wal", b)
		absent(t, "x.db-journal", b)
		if got := b.Shell(`sha256sum < x.db`); got != whole {
			t.Fatalf("%s: b has a database in the middle of a transaction", mode)
		}
		// The next program recovers it.
		want := map[string]string{"wal": "1101", "delete": "101"}[mode]
		a.Shell(`exec python3 -c '
import sqlite3
c = sqlite3.connect("x.db")
c.execute("insert into t values (1)")
c.commit()
c.close()'`)
		rig.Until(t, want+" rows on b", holds(want))
		if list, err := shared(b); err != nil || list != "mark\nx.db\n" {
			t.Errorf("b has %q (%v)", list, err)
		}
	}
}
