package lossyfs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Serve mounts a filesystem of the given capacity at point and obeys the lines of in,
// until it ends: "lose SEED" is a power loss, "lie" makes fsync do nothing until then. It prints "ready" and then "ok" for each
// line. It is meant to be a process of its own: a program must not use files that it
// serves itself.
func Serve(point string, capacity int64, in io.Reader, out io.Writer) error {
	f := New(capacity)
	s, err := f.Mount(point)
	if err != nil {
		return fmt.Errorf("mount lossyfs on %s: %w", point, err)
	}
	fmt.Fprintln(out, "ready")
	for sc := bufio.NewScanner(in); sc.Scan(); {
		var seed int64
		if sc.Text() == "lie" {
			f.Lie()
		} else if _, err := fmt.Sscanf(sc.Text(), "lose %d", &seed); err == nil {
			f.Lose(seed)
		} else {
			return fmt.Errorf("lossyfs: %q: %w", sc.Text(), err)
		}
		fmt.Fprintln(out, "ok")
	}
	return s.Unmount()
}

// Role is Serve as a program: its arguments are the mount point and the capacity.
func Role(args []string) int {
	if len(args) != 2 {
		return 2
	}
	capacity, err := strconv.ParseInt(args[1], 10, 64)
	if err == nil {
		err = Serve(args[0], capacity, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
