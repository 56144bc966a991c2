package confine

import (
	"errors"
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

func to(paths []string) error {
	var rules []landlock.Rule
	for _, p := range paths {
		switch info, err := os.Stat(p); {
		case err != nil:
		case info.IsDir():
			rules = append(rules, landlock.RODirs(p).IgnoreIfMissing())
		default:
			rules = append(rules, landlock.ROFiles(p).IgnoreIfMissing())
		}
	}
	// Before version 8 of Landlock each thread shuts itself in, which a program that was built
	// without a C compiler, and uses purego, cannot have its threads do.
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("confine: %w", err)
	}
	return filter(len(paths) > 0)
}
