package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A complaint begins in lower case, and shows what was written as it was written.
func TestUsageKeepsWhatWasWritten(t *testing.T) {
	for in, want := range map[string]string{
		"Unknown command \"/tmp/Notes\"\nmore": `unknown command "/tmp/Notes"`,
		"":                                     "",
	} {
		if got := usage(&cobra.Command{Use: "x"}, errors.New(in)).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Who writes a time with a dash is told how to.
func TestTimeTakenForAFlag(t *testing.T) {
	var out, talk strings.Builder
	code := Run([]string{"diff", "f", "-2h"}, strings.NewReader(""), &out, &talk)
	if code != 2 || !strings.Contains(talk.String(), "hint: write -- before") || !strings.Contains(talk.String(), "sheaf diff … -- -2h") {
		t.Errorf("exit code %d: %s", code, &talk)
	}
}
