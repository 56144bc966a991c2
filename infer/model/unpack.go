package model

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// unpack takes the files that an item names out of its package, read-only and
// synced. Their names are ours: no path of the package is used.
func unpack(pkg, dir string, i item, progress func(done int64)) ([]file, error) {
	u := &unpacker{dir: dir, item: i, limit: 2*i.size + 1<<20, progress: progress}
	var err error
	switch i.source.format {
	case "tgz":
		err = u.tgz(pkg)
	case "zip":
		err = u.zip(pkg)
	default:
		err = errors.New("unknown format " + i.source.format)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(pkg), err)
	}
	if len(u.files) == 0 || i.gguf != "" && !slices.ContainsFunc(u.files, func(f file) bool { return f.Name == i.gguf }) {
		return nil, &Error{Op: "fetch", Name: i.id, Kind: ErrHash, Err: errors.New("the package lacks what it should hold")}
	}
	return u.files, nil
}

type unpacker struct {
	dir      string
	item     item
	limit    int64 // bytes that may still be written
	done     int64
	progress func(int64)
	files    []file
}

func (u *unpacker) tgz(pkg string) error {
	f, err := os.Open(pkg)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if name, ok := u.item.wants(h.Name); ok && h.Typeflag == tar.TypeReg {
			if err := u.write(name, t); err != nil {
				return err
			}
		}
	}
}

func (u *unpacker) zip(pkg string) error {
	z, err := zip.OpenReader(pkg)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, m := range z.File {
		name, ok := u.item.wants(m.Name)
		if !ok || !m.Mode().IsRegular() {
			continue
		}
		r, err := m.Open()
		if err != nil {
			return err
		}
		err = u.write(name, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) write(name string, r io.Reader) error {
	f, err := os.OpenFile(filepath.Join(u.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h, u), io.LimitReader(r, u.limit+1))
	if err == nil && n > u.limit {
		err = errors.New("it unpacks to more than it should")
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	u.limit -= n
	u.files = append(u.files, file{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))})
	return nil
}

// Write counts what is unpacked, for progress.
func (u *unpacker) Write(b []byte) (int, error) {
	const step = 4 << 20
	before := u.done / step
	if u.done += int64(len(b)); u.done/step != before {
		u.progress(u.done)
	}
	return len(b), nil
}
