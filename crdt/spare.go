package crdt

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
)

// What no other device can give back to this one is in the home twice: the folders' grants and
// the local settings are also in a file of their own. With it, a home whose database is lost
// takes up its folders again and fetches everything else.

const (
	spareFile  = "folders"
	spareMagic = "sheaf folders 1\n"
)

// spare is the content of that file: keys and values of the database.
type spare struct {
	_     struct{} `cbor:",toarray"`
	Pairs []sparePair
}

type sparePair struct {
	_    struct{} `cbor:",toarray"`
	K, V []byte
}

// sparePrefixes are the keys that are in it.
var sparePrefixes = []string{deviceNameKey, deviceKey, grantPrefix, settingPrefix}

// writeSpare makes the file what the database says. It replaces it whole.
func (h *Home) writeSpare() error {
	var s spare
	for _, p := range sparePrefixes {
		err := h.db.Scan([]byte(p), func(k, v []byte) error {
			if !strings.HasPrefix(string(k), ackSettings) {
				s.Pairs = append(s.Pairs, sparePair{K: bytes.Clone(k), V: bytes.Clone(v)})
			}
			return nil
		})
		if err != nil {
			return storage("sync", h.dir, err)
		}
	}
	b := append([]byte(spareMagic), encode(s)...)
	sum := blake3.Sum256(b)
	path := filepath.Join(h.dir, spareFile)
	f, err := os.CreateTemp(filepath.Join(h.dir, "partial"), "put-")
	if err != nil {
		return storage("sync", path, err)
	}
	_, err = f.Write(append(b, sum[:]...))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = errors.Join(os.Rename(f.Name(), path), syncDir(h.dir))
	}
	return storage("sync", path, err)
}

// readSpare reads the file in dir. It fails with ErrDamaged where it is not what was written; a
// home that is older than the file has none, and nothing is in it.
func readSpare(dir string) (spare, error) {
	path := filepath.Join(dir, spareFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return spare{}, nil
	}
	if err != nil {
		return spare{}, storage("open", path, err)
	}
	s, err := decodeSpare(b)
	if err != nil {
		return spare{}, &Error{Op: "open", Path: path, Kind: ErrDamaged, Err: err}
	}
	return s, nil
}

func decodeSpare(b []byte) (s spare, err error) {
	n := len(b) - 32
	if n < len(spareMagic) || string(b[:len(spareMagic)]) != spareMagic {
		return spare{}, errors.New("not a list of folders")
	}
	if sum := blake3.Sum256(b[:n]); !bytes.Equal(sum[:], b[n:]) {
		return spare{}, errors.New("its checksum does not match")
	}
	if err := decode(b[len(spareMagic):n], &s); err != nil {
		return spare{}, err
	}
	return s, nil
}

// restore puts back what a database lacks, and returns how much that was.
func (s spare) restore(db *kv.DB) (n int, err error) {
	b := db.Batch()
	for _, p := range s.Pairs {
		_, ok, err := db.Get(p.K)
		if err != nil {
			return 0, err
		}
		if !ok {
			b.Set(p.K, p.V)
			n++
		}
	}
	return n, errors.Join(db.Commit(b), db.Sync())
}
