package fs

import (
	"os"
	"path/filepath"

	"github.com/sheaf-fs/sheaf/fs/mountinfo"
)

// The kernel may write a session's record to the disk long before its bytes: another program's
// fsync has the whole journal last, and not the session's file. A loss of power then leaves a file
// that is shorter than its writer made it, or has zeros in it, and looks like a save. So a file
// from another run of the machine whose writer did not ask with fsync is set aside, not published.

// bootName is the file beside the journal that says in which run of the machine it was written.
const bootName = "boot"

// fromOtherBoot tells whether the machine was started again since the journal was recovered last.
func (j *journal) fromOtherBoot() bool {
	b, err := os.ReadFile(filepath.Join(j.dir, bootName))
	return err == nil && string(b) != mountinfo.BootID()
}

// noteBoot writes down in which run of the machine the journal goes on.
func (j *journal) noteBoot() error {
	path := filepath.Join(j.dir, bootName)
	if b, err := os.ReadFile(path); err == nil && string(b) == mountinfo.BootID() {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteString(mountinfo.BootID()); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = j.syncNames()
	}
	return err
}

// inFile tells whether the bytes of a session are in a file of its own.
func (j *journal) inFile(id uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, packed := j.packed[id]
	return !packed
}
