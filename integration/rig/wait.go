package rig

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// skipped counts the suites that did not run; it fails a run where CI is set.
var skipped atomic.Int64

// Skip skips a suite that this machine cannot run, and counts it.
func Skip(t testing.TB, why string) {
	t.Helper()
	skipped.Add(1)
	t.Skip(why)
}

// Deadline is how long a condition may take. SHEAF_RIG_DEADLINE (a Go duration)
// changes it; TestBreaks does, since a suite that must fail waits for all of it.
func Deadline() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SHEAF_RIG_DEADLINE")); err == nil {
		return d
	}
	return 30 * time.Second
}

// Until waits until ok reports nil, and fails the test with its last error when that
// takes longer than Deadline.
func Until(t testing.TB, what string, ok func() error) {
	t.Helper()
	UntilIn(t, Deadline(), what, ok)
}

// UntilIn is Until with a deadline of its own.
func UntilIn(t testing.TB, limit time.Duration, what string, ok func() error) {
	t.Helper()
	end := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(pause)
	}
}

// Seed is the seed of a suite: SHEAF_RIG_SEED, else a fixed one, so that a run can be
// repeated. It is logged.
func Seed(t testing.TB) int64 {
	t.Helper()
	seed := int64(1)
	if s, err := strconv.ParseInt(os.Getenv("SHEAF_RIG_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SHEAF_RIG_SEED=%d", seed)
	return seed
}

// Small tells whether a suite should do the least that still shows its point.
func Small() bool { return os.Getenv("SHEAF_RIG_SMALL") != "" }

// Scratch makes a directory that is removed when the whole run ends.
func Scratch(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv(dirEnv), name)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// SameText compares two texts and says where they part.
func SameText(got, want string) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("got:\n%s\nwant:\n%s", clip(got), clip(want))
}

func clip(s string) string {
	if len(s) > 4000 {
		return s[:4000] + "…"
	}
	return s
}

func lockThread() { runtime.LockOSThread() }
