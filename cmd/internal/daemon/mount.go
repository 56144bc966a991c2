package daemon

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/fs/guardian"
	"github.com/sheaf-fs/sheaf/fs/mountinfo"
)

// mounted is a folder that programs can use.
type mounted struct {
	folder *crdt.Folder
	view   view
	guard  *guardian.Mount // nil for a plain directory
	record mountRecord     // as it is once this has ended in an orderly way
}

// view is how programs see a folder: a mount, or a directory kept in step.
type view interface {
	Flush() error          // returns when what was written is in the folder
	Settle() error         // and what is kept back to be sent as one
	Shown(context.Context) // returns when it shows what the folder holds
	Notes() []crdt.Note    // what a person should know of as long as it lasts
	RulesChanged() error   // what stays on this device is decided anew from here on
	Wait()                 // returns when it has ended
	Unmount(context.Context) error
}

// mountRecord is what a home remembers of a folder's mount point.
type mountRecord struct {
	Point string `json:"point"`
	Plain bool   `json:"plain,omitempty"` // an ordinary directory, kept in step
	// Up is set before the folder is mounted and cleared after it is unmounted in an
	// orderly way: found set at a start, it tells of a crash.
	Up bool `json:"up"`
	// Device and Boot find the mount where a directory above Point was renamed before a crash.
	Device string `json:"device,omitempty"` // what is mounted, as mountinfo.DeviceAt names it
	Boot   string `json:"boot,omitempty"`   // in which run of the machine
}

// record is where f has its place: where it is mounted, if it is.
func (d *daemon) record(f *crdt.Folder) (mountRecord, error) {
	var r mountRecord
	err := setting(d.home, settingMount+f.ID().String(), &r)
	if m := d.mountOf(f); err == nil && m != nil && m.point() != r.Point {
		d.log.Info("the mount point was moved", "from", r.Point, "to", m.point())
		r.Point = m.point()
		err = d.setRecord(f, r)
	}
	return r, err
}

// point is where m is now.
func (m *mounted) point() string {
	if s, ok := m.view.(*fs.Server); ok {
		return s.Point()
	}
	return m.record.Point
}

func (d *daemon) setRecord(f *crdt.Folder, r mountRecord) error {
	return setSetting(d.home, settingMount+f.ID().String(), r)
}

// mountAll mounts what is remembered; a folder that cannot be mounted does not keep the
// others down. The caller holds ops, or is alone.
func (d *daemon) mountAll() []control.Failed {
	var failed []control.Failed
	for _, f := range d.home.Folders() {
		r, err := d.record(f)
		if err == nil && r.Point == "" {
			continue
		}
		if err == nil {
			err = d.mount(f, r)
		}
		if err != nil {
			e := explain(err)
			d.log.Error("cannot mount", "folder", f.Name(), "path", r.Point, "err", err)
			failed = append(failed, control.Failed{Path: r.Point, Error: e})
		}
	}
	return failed
}

// mount mounts f on its remembered point unless it is mounted, and keeps what went wrong
// for status.
func (d *daemon) mount(f *crdt.Folder, r mountRecord) error {
	if d.mountOf(f) != nil {
		return nil
	}
	if err := d.asks.Add(f); err != nil {
		return err
	}
	show := d.mountFresh
	if r.Plain {
		show = d.attach
	}
	m, err := show(f, r)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.errs[f.ID()] = explain(err)
		return err
	}
	delete(d.errs, f.ID())
	d.mounts[f.ID()] = m
	go d.watch(m) // ends with the mount
	return nil
}

func (d *daemon) mountOf(f *crdt.Folder) *mounted {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mounts[f.ID()]
}

// mountFresh mounts f, whatever an earlier daemon left at its point. From the moment on
// that a dead mount is detached a program can write into the bare directory, so everything
// that takes time comes before.
func (d *daemon) mountFresh(f *crdt.Folder, r mountRecord) (_ *mounted, err error) {
	crashed := r.Up
	if now := r.moved(); now != r.Point {
		d.log.Info("the mount point was moved before the crash", "from", r.Point, "to", now)
		r.Point = now
	}
	// Saves that a crash interrupted are in the folder before anybody looks.
	if err := fs.Recover(d.home, f); err != nil {
		return nil, err
	}
	ended := mountRecord{Point: r.Point}
	up := r
	up.Up = true
	if err := d.setRecord(f, up); err != nil {
		return nil, err
	}
	guard := d.gd.Mount(r.Point)
	defer func() {
		if err != nil {
			guard.Close()
			// What was found after a crash is still to be looked after, next time.
			err = errors.Join(err, d.setRecord(f, r))
		}
	}()
	if err := clearPoint(r.Point); err != nil {
		return nil, err
	}
	// A program that did not notice the crash may write there until the very moment of the
	// mount, so look again from below once the mount covers it.
	for try := 0; ; try++ {
		if err := d.preparePoint(f, r.Point, crashed); err != nil {
			return nil, err
		}
		s, gathered, err := d.mountOn(f, r.Point, guard)
		if err != nil {
			return nil, err
		}
		if !gathered || try == 3 {
			up.Device, up.Boot = s.Device(), mountinfo.BootID()
			if err := d.setRecord(f, up); err != nil { // of use only where the mount point moves
				d.log.Warn("the mount is not on record", "path", r.Point, "err", err)
			}
			d.log.Info("mounted", "folder", f.Name(), "path", r.Point)
			return &mounted{folder: f, view: s, guard: guard, record: ended}, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), busyFor)
		err = s.Unmount(ctx)
		cancel()
		if err != nil {
			return nil, err
		}
		guard.Close() // unmounting ended its pokes
		guard = d.gd.Mount(r.Point)
		crashed = true
	}
}

// clearPoint detaches what a dead daemon left mounted on point.
func clearPoint(point string) error {
	for range 16 {
		fstype, ok := mountinfo.At(point)
		if !ok || fault.On("daemon-keeps-dead") {
			return nil
		}
		if !mountinfo.Dead(point) {
			return control.Errorf(control.InUse, "%s: something else is mounted there (%s)", point, fstype).
				WithHint("unmount it, then sheaf up")
		}
		if err := mountinfo.Detach(point); err != nil {
			return control.Errorf(control.Denied, "%s: a dead mount cannot be detached: %v", point, err).
				WithHint("as root: umount -l %s, then sheaf up", point)
		}
	}
	return control.Errorf(control.InUse, "%s: too many mounts on top of each other", point)
}

// preparePoint makes point an empty directory. What it gathered after a crash is moved
// beside it and named; what is there for another reason is somebody's, and is left alone.
func (d *daemon) preparePoint(f *crdt.Folder, point string, crashed bool) error {
	empty, err := isEmpty(point)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return makePoint(point)
	case errors.Is(err, unix.ENOTDIR):
		return control.Errorf(control.Exists, "%s: something that is no directory is in its place", point).
			WithHint("move it away, then sheaf up")
	case err != nil:
		return err
	case empty:
		return nil
	case !crashed:
		return control.Errorf(control.Exists, "%s is not empty", point).
			WithHint("move its files away, then sheaf up; they can be moved back in afterwards")
	}
	aside := gatheredName(point, time.Now())
	for n := 0; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, iofs.ErrNotExist) {
			break
		}
		aside = gatheredName(point, time.Now().Add(time.Duration(n+1)*time.Second))
	}
	if err := os.Rename(point, aside); err != nil {
		return err
	}
	// The mount point was kept read-only; what is beside it is a person's to tidy up.
	if err := os.Chmod(aside, 0o755); err != nil {
		d.log.Warn("set aside", "path", aside, "err", err)
	}
	d.log.Warn("the mount point had gathered files; set aside", "path", aside)
	err = f.Update(func(tx *crdt.Tx) error {
		tx.Note("set-aside", aside, "files written to "+point+" while nothing was mounted there")
		return nil
	})
	if err != nil {
		return err
	}
	return makePoint(point)
}

// makePoint makes a mount point, and what is above it.
func makePoint(point string) error {
	if err := os.MkdirAll(filepath.Dir(point), 0o777); err != nil {
		return err
	}
	if err := os.Mkdir(point, 0o755); err != nil {
		return err
	}
	return os.Chmod(point, 0o755) // whatever the daemon's umask is
}

// mountOn mounts f on the empty directory point. gathered says that the directory below
// was not empty any more once it was covered.
func (d *daemon) mountOn(f *crdt.Folder, point string, guard *guardian.Mount) (_ *fs.Server, gathered bool, err error) {
	// A descriptor of the directory itself stays below the mount.
	below, err := os.Open(point)
	if err != nil {
		return nil, false, err
	}
	defer below.Close()
	// fusermount3 wants it writable; where it is not ours to change, it has to be already.
	if err := below.Chmod(0o755); err != nil && !errors.Is(err, iofs.ErrPermission) {
		return nil, false, err
	}
	s, err := fs.Mount(f, d.home, point, fs.Options{
		Logger: d.log, Watcher: guard, Answer: d.answerOf(f), Status: d.statusFile(f), AllowOther: allowOther(),
	})
	// While nothing is mounted the point is read-only, so that a program that misses the
	// mount is told instead of writing beside the folder.
	if err := below.Chmod(0o555); err != nil && !errors.Is(err, iofs.ErrPermission) {
		d.log.Warn("mount point stays writable while unmounted", "path", point, "err", err)
	}
	if err != nil {
		return nil, false, err
	}
	guard.Mounted(s.Device())
	_, err = below.Readdirnames(1)
	return s, err == nil, nil
}

// allowOther tells whether other users of this machine may see the mounts.
func allowOther() bool { return os.Getenv("SHEAF_ALLOW_OTHER") == "1" }

// watch takes note when somebody else unmounts m.
func (d *daemon) watch(m *mounted) {
	m.view.Wait()
	d.mu.Lock()
	ours := d.mounts[m.folder.ID()] != m // unmount has taken it off already
	if !ours {
		delete(d.mounts, m.folder.ID())
		d.errs[m.folder.ID()] = m.ended()
	}
	d.mu.Unlock()
	if ours {
		return
	}
	d.log.Warn("ended", "path", m.point(), "why", m.ended())
	if m.guard != nil {
		m.guard.Close()
	}
	r, err := d.record(m.folder) // it may have been moved before
	if err == nil {
		ended := m.record
		ended.Point = r.Point
		err = d.setRecord(m.folder, ended)
	}
	if err != nil {
		d.log.Error("ended", "path", m.point(), "err", err)
	}
}

// ended says why a folder that nobody took down is not to be used any more.
func (m *mounted) ended() *control.Error {
	if p, ok := m.view.(plainView); ok {
		return explain(p.Dir.Wait())
	}
	return control.Errorf(control.Failure, "%s was unmounted by another program", m.point()).WithHint("sheaf up")
}

// unmount publishes what is written and unmounts; a mount that programs still use after a
// few seconds is detached, which leaves them their open files until the daemon ends.
func (d *daemon) unmount(m *mounted) (busy bool, err error) {
	d.mu.Lock()
	if d.mounts[m.folder.ID()] == m {
		delete(d.mounts, m.folder.ID())
	}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), busyFor)
	defer cancel()
	ended := m.record
	ended.Point = m.point()
	point := ended.Point
	if err := m.view.Unmount(ctx); err != nil {
		d.log.Warn("unmount", "path", point, "err", err)
		if !m.record.Plain {
			busy = true
			if err := mountinfo.Detach(point); err != nil {
				return busy, control.Errorf(control.Failure, "%s: %v", point, err).WithHint("umount -l %s", point)
			}
		}
	}
	if m.guard != nil {
		m.guard.Close()
	}
	d.log.Info("unmounted", "path", point, "busy", busy)
	if err := d.setRecord(m.folder, ended); err != nil {
		// On a full disk, say. The next start takes this for a crash, which does no harm.
		d.log.Warn("the orderly end is not on record", "path", point, "err", err)
	}
	return busy, nil
}

// allMounted lists the mounts in the order of their folders.
func (d *daemon) allMounted() []*mounted {
	var all []*mounted
	for _, f := range d.home.Folders() {
		if m := d.mountOf(f); m != nil {
			all = append(all, m)
		}
	}
	return all
}

// unmountAll unmounts everything, at the daemon's end.
func (d *daemon) unmountAll() {
	d.ops.Lock()
	defer d.ops.Unlock()
	for _, m := range d.allMounted() {
		if _, err := d.unmount(m); err != nil {
			d.log.Error("unmount", "path", m.point(), "err", err)
		}
	}
}

// replaceDir swaps a directory for an empty one and keeps it as aside.
func replaceDir(dir, aside string) error {
	// RENAME_NOREPLACE: an aside that came meanwhile is not ours to overwrite.
	if err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, aside, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: dir, New: aside, Err: err}
	}
	if err := makePoint(dir); err != nil {
		return errors.Join(err, os.Rename(aside, dir))
	}
	return nil
}
