package kv

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"strings"
)

// newSuffix marks the directories of databases that were never finished.
const newSuffix = ".new-"

// create makes an empty database. It is made beside its place and moved there when it is
// whole, so that a crash leaves either nothing or a database: a directory without one in it
// is always damage.
func (db *DB) create() error {
	parent := db.fs.PathDir(db.dir)
	if err := db.fs.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	tmp := db.dir + newSuffix + rand.Text()
	if err := db.fs.MkdirAll(tmp, 0o700); err != nil {
		return err
	}
	err := db.fill(tmp)
	if err == nil {
		// Nothing but an empty directory can be in the way, or a database that another
		// process finished meanwhile: then ours is not needed.
		if rmErr := db.fs.Remove(db.dir); rmErr == nil || errors.Is(rmErr, fs.ErrNotExist) {
			err = db.fs.Rename(tmp, db.dir)
		}
	}
	if rmErr := db.removeUnfinished(parent); err == nil {
		err = rmErr
	}
	if err != nil {
		return err
	}
	d, err := db.fs.OpenDir(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (db *DB) fill(dir string) error {
	o := db.options()
	o.FS = db.fs
	o.ErrorIfExists = true
	p, err := openPebble(dir, o)
	if err != nil {
		return err
	}
	return p.Close()
}

// removeUnfinished removes what crashes left of earlier attempts.
func (db *DB) removeUnfinished(parent string) error {
	names, err := db.fs.List(parent)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, db.fs.PathBase(db.dir)+newSuffix) {
			if err := db.fs.RemoveAll(db.fs.PathJoin(parent, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
