package daemon

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/crdt"
)

// making is a folder that is being made.
type making struct {
	Place  string `json:"place"`
	Import bool   `json:"import,omitempty"` // of the directory that is there
}

// begin remembers that a folder is being made, until made: found at a start, it tells of a
// crash in the middle.
func (d *daemon) begin(f *crdt.Folder, m making) error {
	return setSetting(d.home, settingMaking+f.ID().String(), m)
}

// made says that a folder is in its place.
func (d *daemon) made(f *crdt.Folder) error {
	return d.home.SetSetting(settingMaking+f.ID().String(), nil)
}

// forget undoes the making of a folder that nobody has used.
func (d *daemon) forget(f *crdt.Folder) error {
	d.asks.Remove(f)
	d.mu.Lock()
	delete(d.errs, f.ID())
	d.mu.Unlock()
	return errors.Join(d.home.RemoveFolder(f.ID()), d.home.SetSetting(settingMount+f.ID().String(), nil), d.made(f))
}

// undoMaking undoes what a crash interrupted: a folder that was never put in its place is
// forgotten, and a directory that was to be imported is where and what it was.
func (d *daemon) undoMaking() {
	for _, f := range d.home.Folders() {
		var m making
		err := setting(d.home, settingMaking+f.ID().String(), &m)
		if err == nil && m.Place == "" {
			continue
		}
		var r mountRecord
		if err == nil {
			r, err = d.record(f)
		}
		switch {
		case err != nil:
		case r.Point != "": // it was there, and programs may have written to it
			err = d.made(f)
		default:
			if m.Import {
				err = putBack(m.Place)
			}
			if err == nil {
				d.log.Warn("the making of a folder was interrupted; it is undone", "folder", f.Name(), "path", m.Place)
				err = d.forget(f)
			}
		}
		if err != nil {
			d.log.Error("undo the making of a folder", "folder", f.Name(), "path", m.Place, "err", err)
		}
	}
}

// putBack moves an original that was put aside back to its place, where nothing is but the
// empty directory that was to be mounted on.
func putBack(place string) error {
	aside := place + originalSuffix
	if _, err := os.Lstat(aside); errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if empty, err := isEmpty(place); err == nil && !empty {
		return nil // it never left, and the other one is somebody's
	} else if err == nil {
		if err := os.Remove(place); err != nil {
			return err
		}
	} else if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, place, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("put %s back: %w", aside, err)
	}
	return nil
}
