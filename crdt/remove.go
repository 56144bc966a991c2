package crdt

import "errors"

// RemoveFolder forgets a folder, and deletes what the database holds of it; objects stay
// until they expire. It is for a folder whose making failed: one that another device was
// admitted to is refused, since what is here may be all that is left of it.
func (h *Home) RemoveFolder(id FolderID) error {
	f, err := h.Folder(id)
	if err != nil {
		return err
	}
	for _, d := range f.Devices() {
		if !d.Self {
			return fail("remove folder", f.Name(), ErrDenied, errors.New("other devices share it"))
		}
	}
	h.mu.Lock()
	delete(h.folders, id)
	h.mu.Unlock()
	err = f.close()
	b := h.db.Batch()
	b.Delete(append([]byte(grantPrefix), id[:]...))
	b.DeletePrefix(append([]byte(folderPrefix), id[:]...))
	if cerr := h.db.Commit(b); cerr != nil {
		return storage("remove folder", f.Name(), errors.Join(err, cerr))
	}
	return storage("remove folder", f.Name(), errors.Join(err, h.db.Sync()))
}
