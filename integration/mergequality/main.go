// Command mergequality holds sheaf's merges against git's, over the merges that people made:
//
//	go run ./integration/mergequality [-n MERGES] [-j JOBS] [-v] REPOSITORY...
//
// For every merge commit of two parents with one merge base, each text that both sides
// changed is merged by a folder of two devices, as a stale save and as two devices that
// reconnect; with one save a side, and with the commits of each side as one save each. What
// comes out is compared with what git makes of it (git merge-tree, without renames). The
// repositories are only read. The output is the same for the same repositories; -v lists
// the cases that differ.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mergequality:", err)
		os.Exit(1)
	}
}

type options struct {
	merges  int // at most so many of a repository; 0: all
	jobs    int
	verbose bool
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	fl := flag.NewFlagSet("mergequality", flag.ContinueOnError)
	fl.IntVar(&o.merges, "n", 0, "merges of a repository to look at, chosen by their hash; 0 for all")
	fl.IntVar(&o.jobs, "j", runtime.NumCPU(), "merges done at once")
	fl.BoolVar(&o.verbose, "v", false, "list the files that did not come out as git's")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if fl.NArg() == 0 {
		return fmt.Errorf("name a git repository")
	}
	var all []result
	for _, dir := range fl.Args() {
		r, err := measure(ctx, dir, o)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		r.name = name(dir)
		all = append(all, r)
	}
	report(out, all, o.verbose)
	return nil
}

// name is the last part of a repository's path that says something.
func name(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	for filepath.Base(abs) == ".git" || filepath.Base(abs) == "repo" {
		abs = filepath.Dir(abs)
	}
	return filepath.Base(abs)
}
