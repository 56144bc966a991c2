package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The program's pages go, and come back where they are needed.
func TestDropProgram(t *testing.T) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	code := func() (kb int) {
		b, err := os.ReadFile("/proc/self/smaps")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(b), " r-xp ")
		if !ok || !strings.Contains(rest[:strings.Index(rest, "\n")], exe) {
			t.Fatal("the first code is not the program's")
		}
		_, rest, _ = strings.Cut(rest, "\nRss:")
		if _, err := fmt.Sscan(rest, &kb); err != nil {
			t.Fatal(err)
		}
		return kb
	}
	before := code()
	dropProgram()
	if after := code(); after >= before {
		t.Errorf("%d KB of code before, %d after", before, after)
	}
}
