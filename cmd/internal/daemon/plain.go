package daemon

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs/plain"
)

// plainView is a directory that is kept in step, as the daemon treats a mount.
type plainView struct{ *plain.Dir }

func (v plainView) Wait() { _ = v.Dir.Wait() }

func (v plainView) Unmount(ctx context.Context) error { return v.Dir.Close(ctx) }

// attach begins to keep a directory in step with f.
func (d *daemon) attach(f *crdt.Folder, r mountRecord) (*mounted, error) {
	if r.Up {
		// It was made before, so that one that is not there now is not made anew.
	} else if err := os.Mkdir(r.Point, 0o755); errors.Is(err, iofs.ErrNotExist) {
		if err := os.MkdirAll(r.Point, 0o755); err != nil {
			return nil, err
		}
	} else if err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, err
	}
	dir, err := plain.Attach(f, d.home, r.Point, plain.Options{Logger: d.log})
	if err != nil {
		return nil, err
	}
	// What the directory holds is in the folder before anybody is told that it is in step.
	if err := dir.Flush(); err != nil {
		return nil, errors.Join(err, dir.Close(context.Background()))
	}
	r.Up = true // for good
	if err := d.setRecord(f, r); err != nil {
		return nil, errors.Join(err, dir.Close(context.Background()))
	}
	d.log.Info("in step", "folder", f.Name(), "path", r.Point)
	return &mounted{folder: f, view: plainView{dir}, record: r}, nil
}
