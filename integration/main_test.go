package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/lossyfs"
	"github.com/sheaf-fs/sheaf/integration/rig"
)

func TestMain(m *testing.M) {
	rig.Main(m, map[string]rig.Role{"lossyfs": lossyfs.Role, "load": load, "null": null, "loopback": loopback, "look": look, "work": work})
}

// tree lists a device's folder: one line for each path with its kind and content.
// What editors keep beside a file for themselves is left out, and repositories.
func tree(d *rig.Device) (string, error) {
	out, err := d.TryShell("", `find . -mindepth 1 \( -name .git -o -path ./.sheaf \) -prune -o ! -name '*.sw?' ! -name '.#*' ! -name '.~lock.*' ! -name '*~' \
		\( -type d -printf '%P/\n' -o -type l -printf '%P -> %l\n' -o -type f -exec sha256sum {} + \)`)
	if err != nil {
		return "", err
	}
	var lines []string
	for l := range strings.Lines(out) {
		l = strings.TrimSuffix(l, "\n")
		if sum, path, ok := strings.Cut(l, "  ./"); ok {
			l = path + " " + sum[:16]
		}
		lines = append(lines, l)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n"), nil
}

// sameTrees waits until the devices show the same tree, byte for byte.
func sameTrees(t *testing.T, ds ...*rig.Device) string {
	t.Helper()
	var first string
	rig.Until(t, "same trees", func() error {
		var err error
		if first, err = tree(ds[0]); err != nil {
			return err
		}
		for _, d := range ds[1:] {
			other, err := tree(d)
			if err != nil {
				return err
			}
			if other != first {
				return fmt.Errorf("%s has:\n%s\n%s has:\n%s", ds[0].Name, first, d.Name, other)
			}
		}
		return nil
	})
	return first
}

// everyLine checks that each of the lines is in the text exactly once.
func everyLine(text string, lines ...string) error {
	count := map[string]int{}
	for l := range strings.Lines(text) {
		count[strings.TrimSuffix(l, "\n")]++
	}
	var wrong []string
	for _, l := range lines {
		if count[l] != 1 {
			wrong = append(wrong, fmt.Sprintf("%d times %q", count[l], l))
		}
	}
	if len(wrong) > 20 {
		wrong = append(wrong[:20], fmt.Sprintf("and %d more", len(wrong)-20))
	}
	if wrong != nil {
		return fmt.Errorf("%s\nin:\n%.3000s", strings.Join(wrong, "\n"), text)
	}
	return nil
}

// connected waits until a device is connected to n others.
func connected(t *testing.T, d *rig.Device, n int) {
	t.Helper()
	rig.Until(t, fmt.Sprintf("%s connected to %d", d.Name, n), func() error {
		s, err := d.Status()
		if err != nil {
			return err
		}
		got := 0
		for _, f := range s.Folders {
			for _, p := range f.Devices {
				if p.Connected {
					got++
				}
			}
		}
		if got != n {
			return fmt.Errorf("connected to %d: %+v", got, s.Folders)
		}
		return nil
	})
}

// need skips the test where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			rig.Skip(t, p+" is not installed")
		}
	}
}

// breaks says, for each suite, what is broken on purpose to turn it red, and what it
// then must complain of.
var breaks = []struct{ suite, fault, says string }{
	{"TestStaleSave", "crdt-current-base", "both changes"},
	{"TestStaleBytes", "crdt-current-base", "both are shown"},
	{"TestStaleSave", "fs-trust-opens", "both changes"},
	{"TestStaleSave", "fs-show-new-times", "asks or warns"},
	{"TestApart", "crdt-every-save-differs", "sees"},
	{"TestApart", "fs-impatient", "sees both"},
	{"TestHeld", "fs-write-here", "b sees the write"},
	{"TestHeldOverRestart", "fs-forget-sessions", "what was written is there"},
	{"TestArrived", "fs-keep-names", "as in an ordinary directory"},
	{"TestAppendFromBoth", "crdt-current-base", "0 times"},
	{"TestOffline", "crdt-every-save-differs", "2 times"},
	{"TestBulk", "blob-start-over", "came over the wire"},
	{"TestStrangers", "crdt-reuse-tickets", "a stranger got in"},
	{"TestHostileMember", "crdt-trust-signatures", "a names b"},
	{"TestHungDaemon", "guardian-patient", "did not return within"},
	{"TestKilledDaemon", "crdt-forget-pending", "lost:"},
	{"TestPowerLoss", "kv-skip-sync", "lost:"},
	{"TestRestoredHome", "crdt-refuse-own", "0 times"},
	{"TestLostTail", "crdt-refuse-own", "0 times"},
	{"TestWatchers", "guardian-silent", "has not heard"},
	{"TestWatchTools", "guardian-silent", "has not heard"},
	{"TestKilledInBurst/guardian", "guardian-forgets", "has not heard"},
	{"TestKilledInBurst/daemon", "daemon-keeps-dead", "the mount comes back"},
	{"TestVite", "guardian-silent", "has not heard"},
	{"TestVite", "fs-tell-always", "builds too often"},
	{"TestMake", "fs-date-arrival", "cmp 1.c"},
	{"TestNoEventWithoutChange", "fs-tell-always", "heard"},
	{"TestBursts", "guardian-hasty", "heard of it"},
	{"TestTurns", "fs-never-slow", "is not slowed"},
	{"TestWithoutMounts/TestTurns", "fs-never-slow", "is not slowed"},
	{"TestPresence", "peer-remember-presence", "that the reader ended"},
	{"TestPosix", "fs-keep-suid", "suid_write"},
	{"TestForeignSymlinks", "fs-follow-foreign", "is followed"},
	{"TestPlain", "plain-current-base", "stale save"},
	{"TestLocalOnly", "fs-share-everything", "is shared"},
	{"TestDatabase", "fs-publish-journaled", "in the middle of a transaction"},
	{"TestGitInside", "fs-git-in-pieces", "entries"},
	{"TestFirstView", "peer-no-checkpoints", "all names before all entries"},
	{"TestDiverged", "peer-no-digests", "b is not known to have diverged"},
	{"TestNewer", "crdt-skip-newer", "a says what it cannot read"},
	{"TestAutomerge", "text-order", "it is not the text that Automerge makes of its changes"},
	{"TestWhole", "fs-merge-everything", "is mixed"},
	{"TestBadInput", "kv-start-empty", "up over a damaged database"},
}

func TestBreaks(t *testing.T) {
	for _, b := range breaks {
		t.Run(b.suite+"/"+b.fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(context.Background(), "/proc/self/exe", "-test.run", "^"+b.suite+"$", "-test.v")
			cmd.Env = append(os.Environ(), "SHEAF_BIN="+os.Getenv("SHEAF_FAULT_BIN"), "SHEAF_FAULT="+b.fault,
				"SHEAF_RIG_SMALL=1", "SHEAF_RIG_DEADLINE=8s")
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("%s is green although %s is broken:\n%s", b.suite, b.fault, out)
			}
			if !strings.Contains(string(out), b.says) {
				t.Fatalf("%s is red with %s, but does not say %q:\n%s", b.suite, b.fault, b.says, out)
			}
		})
	}
}
