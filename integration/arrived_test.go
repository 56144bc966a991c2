package integration

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// byHand is what is done to the file f behind git's back.
var byHand = map[string]string{
	renamed: "mv f renamed",
	removed: "rm f",
}

// indexed are commands of git, which remembers in its index what it had read, and what makes
// the repository ready for them; some refuse where the file is gone.
var indexed = []struct{ before, run string }{
	{"", "git checkout -q other"},
	{"; sed -i '1a mine' f", "git checkout -q -- f"},
	{"; sed -i '1a mine' f", "git stash -q"},
	{"; sed -i '1a mine' f", "git stash -q; git stash pop -q"},
	{"", "git merge -q other"},
	{"; echo g > g; git add g; git commit -qm three; git checkout -q other", "git rebase -q main"},
	{"; git push -q origin other:main", "git pull -q --ff-only"},
}

// TestArrived: B renames or removes a file in the working tree of A's repository, A sees
// that, and then A runs git. On both devices that makes what it makes in a directory
// where the same was done by hand.
func TestArrived(t *testing.T) {
	need(t, "git")
	lines := text(page(rand.New(rand.NewSource(rig.Seed(t))), 3))
	a, b := rig.Pair(t, nil)
	onA, onB := newLooker(t, a), newLooker(t, b)
	plain := rig.Scratch(t, "plain")
	type cell struct {
		name, dir, before, hand, run string
	}
	var cells []cell
	for i, c := range indexed {
		for _, against := range []string{renamed, removed} {
			dir := fmt.Sprintf("%d.%s", i, strings.Fields(against)[1])
			cells = append(cells, cell{c.run + " after " + against, dir, c.before, byHand[against], c.run})
		}
	}
	if rig.Small() {
		cells = cells[4:6]
	}
	const user = "export GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=n@example.org GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=n@example.org\n"
	in := func(where string, c cell, script string) string {
		return "cd " + filepath.Join(where, c.dir) + "; scratch=" + rig.Scratch(t, "git") + "\nexport HOME=$scratch\n" + user + script
	}
	here := func(c cell, script string) {
		cmd := exec.Command("sh", "-c", in(plain, c, script))
		cmd.Stdin = strings.NewReader(lines)
		_ = cmd.Run() // it may refuse
	}
	each := func(f func(c cell)) {
		var all sync.WaitGroup
		for _, c := range cells {
			all.Go(func() { f(c) })
		}
		all.Wait()
	}
	begin := func(c cell) string { return "cat > f; " + repository + c.before }
	each(func(c cell) {
		if err := os.Mkdir(filepath.Join(plain, c.dir), 0o755); err != nil {
			t.Error(err)
		}
		here(c, begin(c)+"\n"+c.hand+"\n"+c.run)
		a.Shell(`mkdir "$1"`, c.dir)
		if _, err := a.TryShell(lines, in(a.Point, c, begin(c))); err != nil {
			t.Error(err)
		}
	})
	sameTrees(t, a, b)
	each(func(c cell) { b.Shell("cd " + c.dir + "; " + c.hand) })
	for _, c := range cells {
		rig.Until(t, "the far change has come", func() error {
			files, err := onA.files(c.dir)
			if _, ok := files["f"]; ok {
				err = errors.New("f is still there")
			}
			return err
		})
	}
	each(func(c cell) { _, _ = a.TryShell("", in(a.Point, c, c.run)) })
	for _, c := range cells {
		t.Run(c.name, func(t *testing.T) {
			want := map[string]string{}
			for _, name := range []string{"f", "renamed", "g"} {
				if b, err := os.ReadFile(filepath.Join(plain, c.dir, name)); err == nil {
					want[name] = string(b)
				}
			}
			for _, l := range []*looker{onA, onB} {
				rig.Until(t, "as in an ordinary directory", func() error {
					return has(l, c.dir, want, func(string) bool { return false })
				})
			}
		})
	}
	sameTrees(t, a, b)
}
