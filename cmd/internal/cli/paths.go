package cli

import (
	"os"
	"path/filepath"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

// homeDir is the absolute path of the device's home: flag, else SHEAF_HOME, else XDG's
// state directory.
func homeDir(flag string) (string, error) {
	dir := flag
	if dir == "" {
		dir = os.Getenv("SHEAF_HOME")
	}
	if dir == "" {
		state := os.Getenv("XDG_STATE_HOME")
		if !filepath.IsAbs(state) {
			user, err := os.UserHomeDir()
			if err != nil {
				return "", control.Errorf(control.Usage, "no home directory to keep this device in").
					WithHint("name one with --home DIR or SHEAF_HOME")
			}
			state = filepath.Join(user, ".local", "state")
		}
		dir = filepath.Join(state, "sheaf")
	}
	return filepath.Abs(dir)
}
