package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// Recover brings into the folder what a process that was killed had been given
// and not yet published. A session that did not truncate, or whose writer asked
// for it with fsync, is published; one that truncated and was cut short is set
// aside, in a file that Status names. It must not run while the folder is
// mounted, and may be run again.
func Recover(h *crdt.Home, f *crdt.Folder) error {
	j, err := openJournal(sessionsDir(h, f))
	if err != nil {
		return fmt.Errorf("recover %s: %w", f.Name(), err)
	}
	fs := &filesystem{home: h, folder: f, journal: j, localRootDir: localRootDir(h, f), reads: newReadTable(), resolver: newResolver()}
	defer fs.resolver.close()
	defer j.close()
	if err := os.MkdirAll(localRootDir(h, f), 0o700); err != nil {
		return fmt.Errorf("recover %s: %w", f.Name(), err)
	}
	if fs.locals, err = openLocalIndex(localRootDir(h, f)); err != nil {
		return fmt.Errorf("recover %s: %w", f.Name(), err)
	}
	torn := j.fromOtherBoot()
	var errs []error
	var done []record
	for _, r := range j.records() {
		if fault.On("fs-forget-sessions") {
			done = append(done, r)
			continue
		}
		if r.Kind == specialRecord || fs.waitsForSides(r) {
			continue // nothing of it was begun, or the next mount goes on with it
		}
		if err := fs.recover(r, torn); err != nil {
			errs = append(errs, fmt.Errorf("recover %s: %w", r.Path, err))
			continue
		}
		done = append(done, r)
	}
	if err := f.Sync(); err != nil { // before what it was made from goes
		return errors.Join(append(errs, fmt.Errorf("recover %s: %w", f.Name(), err))...)
	}
	for _, r := range done {
		if err := j.drop(r.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		os.Remove(j.path(r.ID))
	}
	if errs = append(errs, fs.sweep()); errors.Join(errs...) == nil {
		_ = j.noteBoot() // on a full disk, say: the next recovery then sets aside more than it must
	}
	return errors.Join(errs...)
}

// sweep removes session files that no record names: no call that made one
// returned, or its bytes are in the folder.
func (fs *filesystem) sweep() error {
	list, err := os.ReadDir(fs.journal.dir)
	if err != nil {
		return err
	}
	live := map[string]bool{journalName: true, bootName: true}
	for _, r := range fs.journal.records() {
		live[fmt.Sprint(r.ID)] = true
	}
	for _, e := range list {
		if !live[e.Name()] && !e.IsDir() {
			os.Remove(filepath.Join(fs.journal.dir, e.Name()))
		}
	}
	return nil
}

// recover brings in what one record names. torn says that power may have been lost since.
func (fs *filesystem) recover(r record, torn bool) error {
	torn = torn && !r.Synced && fs.journal.inFile(r.ID)
	switch r.Kind {
	case removeRecord:
		return gone(fs.folder.Update(func(tx *crdt.Tx) error { return tx.Remove(r.Node) }))
	case moveRecord:
		return gone(fs.folder.Update(func(tx *crdt.Tx) error { return tx.MoveBeside(r.Node, r.Parent, r.Name) }))
	}
	switch err := fs.toFile(&r); {
	case errors.Is(err, errAdrift):
		return fs.recoverAdrift(r)
	case err != nil:
		return err
	}
	fd, err := syscall.Open(fs.journal.path(r.ID), syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err == syscall.ENOENT {
		return nil // the record outlived its session by one system call
	}
	if err != nil {
		return err
	}
	s := &session{record: r, fd: fd, readOnly: -1}
	defer func() { s.closeFiles() }()
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return err
	}
	s.size = st.Size
	var none crdt.NodeID
	switch {
	case r.Unnamed:
		return nil
	case torn && (r.Appended || r.Node == none):
		return fs.setAsideTorn(s)
	case r.Appended:
		return fs.recoverAppend(s)
	case r.Node == none:
		return fs.recoverNew(s)
	case r.Truncated && !r.Synced:
		return fs.setAside(s, "the program that was writing this file was cut short; the file itself is unchanged")
	}
	was, err := fs.folder.HoldingAt(r.Node, r.Base)
	if err != nil {
		was = crdt.Holding{}
	}
	c, err := fs.content(nil, s, fs.nodeWhole(r.Node), was.Body)
	if err != nil {
		return err
	}
	if torn {
		if was.Same(c) {
			return nil
		}
		return fs.setAsideTorn(s)
	}
	s.Truncated = false // the base is the record's: its writer is gone
	_, err = fs.write(r.Node, s, c)
	return err
}

// gone passes over a node that is not there any more.
func gone(err error) error {
	if status(err) == fuse.ENOENT {
		return nil
	}
	return err
}

func (fs *filesystem) recoverAppend(s *session) error {
	b := make([]byte, s.size)
	if _, err := preadFull(s.fd, b, 0); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := appendOnce(fs.folder, nil, s.Node, s.Mark, b); err != nil {
		return fs.setAside(s, "these bytes could not be added to the file: "+err.Error())
	}
	return nil
}

// recoverNew publishes a new file, unless it is there already.
func (fs *filesystem) recoverNew(s *session) error {
	if s.size == 0 {
		return nil
	}
	c, err := fs.content(nil, s, fs.keepsWhole(fs.spotOf(s.Parent).under(s.Name)), nil)
	if err != nil {
		return err
	}
	if info, err := fs.folder.Lookup(s.Parent, s.Name); err == nil && info.Kind == crdt.File {
		now, err := fs.folder.Holding(info.Node)
		if err == nil && now.Same(c) {
			return nil
		}
		return fs.setAside(s, "a new file of this name was not yet in the folder, and another one has its name now")
	}
	err = fs.folder.Update(func(tx *crdt.Tx) error {
		node, _, err := tx.Create(s.Parent, s.Name, s.Mode, newContent(c))
		if err == nil && s.Owner != nil {
			tx.SetLocal(ownerPrefix+node.String(), s.Owner)
			tx.SetLocal(ownersMark, []byte{1})
		}
		return err
	})
	if status(err) == fuse.ENOENT {
		return fs.setAside(s, "the directory of this new file is gone")
	}
	return err
}

func (fs *filesystem) setAsideTorn(s *session) error {
	if s.size == 0 {
		return nil
	}
	return fs.setAside(s, "the machine went down before these bytes were safe on its disk, so some may be missing or zeros; the file itself is unchanged")
}

// setAside keeps a session's bytes in the home and says where.
func (fs *filesystem) setAside(s *session, why string) error {
	dir := filepath.Join(fs.home.Dir(), "aside")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%d-%s", fs.folder.ID().Short(), s.ID, strings.ReplaceAll(s.Path, "/", "_"))
	if len(name) > 200 {
		name = name[:200]
	}
	path := filepath.Join(dir, name)
	src := fs.journal.path(s.ID)
	if err := os.Link(src, path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return fs.folder.Update(func(tx *crdt.Tx) error {
		tx.Note("set-aside", s.Path, why+"; the bytes are kept in "+path)
		return nil
	})
}
