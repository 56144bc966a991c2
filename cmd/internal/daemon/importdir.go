package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/fs/plain"
)

// Bounds of one Bulk of an import: one entry, one piece of memory and one lock.
const (
	batchItems = 96
	batchBytes = 384 << 10
)

// item is one thing of the directory that is imported, as it was when it was copied. There
// may be very many.
type item struct {
	rel   string
	mode  iofs.FileMode
	bits  uint32
	mtime int64 // unix ns
	node  crdt.NodeID
}

// made is an item with what makes it in the folder.
type made struct {
	item
	make func(*crdt.Tx) (crdt.NodeID, error)
}

// importer copies a directory into a folder that nobody else uses yet.
type importer struct {
	home *crdt.Home
	f    *crdt.Folder
	root string
	dev  uint64
	say  func(string)
	stay *plain.Rules // what is not shared

	// Whoever stores what was read.
	items []item
	nodes map[string]crdt.NodeID // of directories, by relative path

	// Whoever reads.
	sum   control.Imported
	batch []made
	bytes int
	buf   []byte // to read a file into
	said  time.Time
}

// importDir copies path into f, compares every file with its copy, and moves the original
// aside. On an error the original is where and what it was.
func (d *daemon) importDir(ctx context.Context, f *crdt.Folder, path string, say func(string)) (control.Imported, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return control.Imported{}, err
	}
	defer workHard()()
	im := &importer{home: d.home, f: f, root: path, dev: deviceOf(fi), say: say, stay: plain.NewRules(path, ""),
		nodes: map[string]crdt.NodeID{"": crdt.Root}, said: time.Now()}
	if err := im.copy(ctx); err != nil {
		return im.sum, err
	}
	if err := im.verify(ctx); err != nil {
		return im.sum, err
	}
	if err := f.Sync(); err != nil {
		return im.sum, err
	}
	im.sum.Original = path + originalSuffix
	return im.sum, replaceDir(path, im.sum.Original)
}

// walk calls fn for everything below root, parents first.
func (im *importer) walk(ctx context.Context, fn func(rel string, fi iofs.FileInfo) error) error {
	return filepath.WalkDir(im.root, func(path string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == im.root {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		if fi.IsDir() && deviceOf(fi) != im.dev {
			return control.Errorf(control.Failure, "%s: another filesystem is mounted inside", path).
				WithHint("unmount it, or import it on its own")
		}
		rel, err := filepath.Rel(im.root, path)
		if err != nil {
			return err
		}
		return fn(rel, fi)
	})
}

// copy reads one batch while the one before it is signed and stored.
func (im *importer) copy(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan []made)
	g.Go(func() error {
		defer close(batches)
		return im.read(ctx, func(b []made) error {
			select {
			case batches <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	g.Go(func() error {
		for b := range batches {
			if err := im.store(b); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// read hands everything below root to give, in batches.
func (im *importer) read(ctx context.Context, give func([]made) error) error {
	err := im.walk(ctx, func(rel string, fi iofs.FileInfo) error {
		if len(im.batch) >= batchItems || im.bytes >= batchBytes {
			if err := give(im.batch); err != nil {
				return err
			}
			im.batch, im.bytes = nil, 0
		}
		if e := time.Since(im.said); e > sayEvery {
			im.said = time.Now()
			im.say(fmt.Sprintf("copying: %d files so far", im.sum.Files))
		}
		switch {
		case im.stay.Keeps(filepath.ToSlash(rel), fi.IsDir()):
			im.sum.Local = append(im.sum.Local, rel)
			return skip(fi)
		case fi.IsDir():
			return im.dir(rel, fi)
		case fi.Mode().IsRegular():
			return im.file(rel, fi)
		case fi.Mode()&os.ModeSymlink != 0:
			return im.symlink(rel, fi)
		}
		im.sum.Skipped = append(im.sum.Skipped, rel)
		return nil
	})
	if err != nil {
		return err
	}
	return give(im.batch)
}

// later adds what fn makes to the batch.
func (im *importer) later(rel string, fi iofs.FileInfo, size int, fn func(tx *crdt.Tx) (crdt.NodeID, error)) {
	it := item{rel: rel, mode: fi.Mode(), bits: modeOf(fi), mtime: fi.ModTime().UnixNano()}
	im.batch = append(im.batch, made{it, fn})
	im.bytes += size
}

// store makes a batch.
func (im *importer) store(batch []made) error {
	return im.f.Bulk(func(tx *crdt.Tx) error {
		for _, m := range batch {
			node, err := m.make(tx)
			if err != nil {
				return err
			}
			m.node = node
			im.items = append(im.items, m.item)
		}
		return nil
	})
}

func (im *importer) parent(rel string) (dir crdt.NodeID, name string) {
	up, name := filepath.Split(rel)
	return im.nodes[strings.TrimSuffix(up, "/")], name
}

func (im *importer) dir(rel string, fi iofs.FileInfo) error {
	im.sum.Dirs++
	im.later(rel, fi, 0, func(tx *crdt.Tx) (crdt.NodeID, error) {
		dir, name := im.parent(rel)
		node, err := tx.Mkdir(dir, name, modeOf(fi))
		im.nodes[rel] = node
		return node, err
	})
	return nil
}

func (im *importer) symlink(rel string, fi iofs.FileInfo) error {
	to, err := os.Readlink(filepath.Join(im.root, rel))
	if err != nil {
		return err
	}
	im.sum.Symlinks++
	im.later(rel, fi, len(to), func(tx *crdt.Tx) (crdt.NodeID, error) {
		dir, name := im.parent(rel)
		node, err := tx.Symlink(dir, name, to)
		if err == nil {
			fs.TrustLink(tx, node) // it leads where it led before
		}
		return node, err
	})
	return nil
}

func (im *importer) file(rel string, fi iofs.FileInfo) error {
	path := filepath.Join(im.root, rel)
	c, size, err := im.content(path, im.stay.Whole(filepath.ToSlash(rel)))
	if err != nil {
		return err
	}
	attrs, err := userXattrs(path)
	if err != nil {
		return err
	}
	im.sum.Files++
	im.sum.Bytes += size
	im.later(rel, fi, len(c.Text), func(tx *crdt.Tx) (crdt.NodeID, error) {
		dir, name := im.parent(rel)
		node, _, err := tx.Create(dir, name, modeOf(fi), c)
		if err != nil {
			return node, err
		}
		for k, v := range attrs {
			if err := tx.SetXattr(node, k, v); err != nil {
				return node, err
			}
		}
		return node, tx.SetMtime(node, fi.ModTime())
	})
	return nil
}

// content reads a file: a text where it is one, else, or where it is kept whole, an object in the home.
func (im *importer) content(path string, whole bool) (c crdt.NewContent, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return c, 0, err
	}
	defer f.Close()
	if im.buf, err = readText(f, im.buf); err != nil {
		return c, 0, err
	}
	if text.IsText(im.buf) && (!whole || len(im.buf) == 0) {
		return crdt.NewContent{Text: string(im.buf)}, int64(len(im.buf)), nil
	}
	if fs.Underway(path) { // a database is no text
		return c, 0, control.Errorf(control.InUse, "%s is a database that is in use, or was left so: what is beside it belongs to it", path).
			WithHint("close the program that uses it, or open and close it once, then try again")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return c, 0, err
	}
	hash, size, err := im.home.Objects().Put(f)
	if err != nil {
		return c, 0, fmt.Errorf("import %s: %w", path, err)
	}
	return crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(hash), Size: size}}, size, nil
}

// readText reads a file, or of one that is too long for a text one byte more than a text has.
// It reads into buf where there is room.
func readText(f *os.File, buf []byte) ([]byte, error) {
	b := bytes.NewBuffer(buf[:0])
	_, err := b.ReadFrom(io.LimitReader(f, text.MaxText+1))
	return b.Bytes(), err
}

// verify reads the original again and compares it with the folder: the copy is whole, and
// nobody changed the original meanwhile.
func (im *importer) verify(ctx context.Context) error {
	copies, err := im.f.Reading()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	some := make(chan []item)
	g.Go(func() error {
		defer close(some)
		return im.same(ctx, func(items []item) error {
			select {
			case some <- items:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range 2 {
		g.Go(func() error {
			var buf []byte
			for items := range some {
				for i := range items {
					var err error
					if buf, err = im.compare(copies, &items[i], buf); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// same compares what is below root now with what was copied, and hands all of it to fn, about as
// much at a time as one entry holds.
func (im *importer) same(ctx context.Context, fn func([]item) error) error {
	im.say(fmt.Sprintf("comparing %d files with their copies", im.sum.Files))
	skipped := map[string]bool{}
	for _, rel := range im.sum.Skipped {
		skipped[rel] = true
	}
	next, given := 0, 0
	err := im.walk(ctx, func(rel string, fi iofs.FileInfo) error {
		if im.stay.Keeps(filepath.ToSlash(rel), fi.IsDir()) {
			return skip(fi)
		}
		if skipped[rel] {
			return nil
		}
		if next == len(im.items) || im.items[next].rel != rel {
			return im.changed(rel)
		}
		it := &im.items[next]
		next++
		if fi.Mode() != it.mode || (!fi.IsDir() && fi.ModTime().UnixNano() != it.mtime) {
			return im.changed(rel)
		}
		if next-given < batchItems {
			return nil
		}
		some := im.items[given:next]
		given = next
		return fn(some)
	})
	if err == nil && next != len(im.items) {
		err = im.changed(im.items[next].rel)
	}
	if err != nil {
		return err
	}
	return fn(im.items[given:])
}

// skip goes on with what comes after fi.
func skip(fi iofs.FileInfo) error {
	if fi.IsDir() {
		return filepath.SkipDir
	}
	return nil
}

func (im *importer) changed(rel string) error {
	return control.Errorf(control.InUse, "%s changed while it was copied", filepath.Join(im.root, rel)).
		WithHint("nothing was touched; close the programs that use it, then try again")
}

// compare compares the original of one item with its copy. It returns buf, which may have grown.
func (im *importer) compare(copies *crdt.Reading, it *item, buf []byte) ([]byte, error) {
	path := filepath.Join(im.root, it.rel)
	differs := func() error {
		return control.Errorf(control.Failure, "%s: its copy differs from it", path).
			WithHint("nothing was touched; please report this")
	}
	info, err := im.f.Resolve(it.rel)
	if err != nil {
		return buf, err
	}
	if info.Node != it.node || (info.Kind != crdt.Symlink && info.Mode != it.bits) {
		return buf, differs()
	}
	switch info.Kind {
	case crdt.Symlink:
		if to, err := os.Readlink(path); err != nil || to != info.Target {
			return buf, im.changed(it.rel)
		}
	case crdt.File:
		c, err := copies.Content(it.node)
		if err != nil {
			return buf, err
		}
		f, err := os.Open(path)
		if err != nil {
			return buf, err
		}
		defer f.Close()
		if c.Object == nil {
			if buf, err = readText(f, buf); err == nil && string(buf) != c.Text {
				err = differs()
			}
			return buf, err
		}
		h := blake3.New()
		if _, err := io.Copy(h, f); err != nil {
			return buf, err
		}
		if [32]byte(h.Sum(nil)) != c.Object.Hash {
			return buf, differs()
		}
	}
	return buf, nil
}

// modeOf is a file's mode as the system counts it, 07777.
func modeOf(fi iofs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Mode & 0o7777
	}
	return uint32(fi.Mode().Perm())
}

func deviceOf(fi iofs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Dev
	}
	return 0
}

// userXattrs reads the attributes that belong to the file's users.
func userXattrs(path string) (map[string][]byte, error) {
	read := func(get func([]byte) (int, error)) ([]byte, error) {
		for {
			n, err := get(nil)
			if err != nil || n == 0 {
				return nil, err
			}
			buf := make([]byte, n)
			if n, err = get(buf); !errors.Is(err, unix.ERANGE) { // else it grew meanwhile
				return buf[:max(n, 0)], err
			}
		}
	}
	names, err := read(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	attrs := map[string][]byte{}
	for name := range strings.SplitSeq(string(names), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		v, err := read(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if err != nil {
			return nil, &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		attrs[name] = v
	}
	return attrs, nil
}
