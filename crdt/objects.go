package crdt

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// Wanted lists the objects that versions of this folder name and this device
// does not have. Old versions that others may have let expire are not among them.
func (f *Folder) Wanted() []Object {
	f.mu.RLock()
	defer f.mu.RUnlock()
	ws := f.wanted()
	out := make([]Object, 0, len(ws))
	for _, o := range ws {
		out = append(out, fromTree(&o))
	}
	return out
}

func (f *Folder) wanted() []tree.Object {
	return f.seen().Wanted(time.Now().Add(-DefaultKeep.All).UnixMilli())
}

// ObjectArrived says that an object is now in the home's store; what it is the
// content of becomes visible.
func (f *Folder) ObjectArrived(h Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := now()
	if f.tree.Waits(h) || f.first != nil && f.first.tree.Waits(h) {
		// A file must not look older after a restart: make would not see it change.
		b := f.home.db.Batch()
		b.Set(f.key('a', h[:]), be64(uint64(at)))
		if err := f.home.db.Commit(b); err != nil {
			f.home.log.Error("keeping when an object came", "folder", f.grant.Name, "err", err)
		}
	}
	changes := f.tree.ObjectReady(h, at)
	if f.first != nil {
		changes = f.first.tree.ObjectReady(h, at)
	}
	if len(changes) > 0 {
		f.post(Notice{Changes: changesOf(changes)})
	}
}

// loadArrivals returns when the objects came that were not here with the
// versions that name them, in unix ns.
func (f *Folder) loadArrivals() (map[Hash]int64, error) {
	out := map[Hash]int64{}
	n := len(f.key('a'))
	err := f.home.db.Scan(f.key('a'), func(k, v []byte) error {
		if len(k) != n+len(Hash{}) || len(v) != 8 {
			return errors.New("an arrival of an unknown form")
		}
		out[Hash(k[n:])] = int64(binary.BigEndian.Uint64(v))
		return nil
	})
	return out, storage("open", f.grant.Name, err)
}
