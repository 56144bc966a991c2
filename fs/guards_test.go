package fs

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// An editor goes on seeing the size and time that it read, also where the kernel has forgotten
// the file meanwhile, before or after somebody else changed it.
func TestGuardsOutliveTheKernelsMemory(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after bool // the change, the kernel forgets
	}{{"before the change", true, false}, {"after it", false, true}, {"both", true, true}} {
		for _, saved := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, saved before: %v", c.name, saved), func(t *testing.T) {
				t.Parallel()
				here, far := shared(t)
				if here.read("f"); saved {
					here.write("f", poem+"saved here\n")
				}
				stat := func() os.FileInfo {
					t.Helper()
					info, err := os.Stat(here.path("f"))
					if err != nil {
						t.Fatal(err)
					}
					return info
				}
				// As emacs says that it has an unsaved buffer.
				if err := os.Symlink(fmt.Sprintf("me@here.%d:1", os.Getpid()), here.path(".#f")); err != nil {
					t.Fatal(err)
				}
				here.flush()
				read := stat()
				forget := func() {
					t.Helper()
					fs := here.s.fs
					fs.server.EntryNotify(1, "f")
					eventually(t, "the kernel forgets it", func() bool {
						fs.mu.RLock()
						defer fs.mu.RUnlock()
						return fs.nodes[key(here.node("f"), nil)] == nil
					})
				}
				if c.before {
					forget()
				}
				if saved {
					exchange(t, here, far)
				}
				here.arrives(far, prepend("far\n"))
				eventually(t, "the folder has it", func() bool { return strings.HasPrefix(here.text("f"), "far\n") })
				if c.after {
					stat()
					forget()
				}
				for range 3 { // it stays so
					if now := stat(); now.Size() != read.Size() || !now.ModTime().Equal(read.ModTime()) {
						t.Fatalf("%d bytes of %v, read were %d of %v", now.Size(), now.ModTime(), read.Size(), read.ModTime())
					}
					time.Sleep(holdSave)
				}
				// Once it has read, it sees what is there.
				eventually(t, "what is there is read", func() bool { return strings.HasPrefix(here.read("f"), "far\n") })
				eventually(t, "and seen", func() bool { return stat().Size() == int64(len(here.text("f"))) })
			})
		}
	}
}
