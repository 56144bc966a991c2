package crdt

// Wanted lists the objects that versions of this folder name and this device
// does not have.
func (f *Folder) Wanted() []Object {
	f.mu.RLock()
	defer f.mu.RUnlock()
	ws := f.tree.Absent()
	out := make([]Object, 0, len(ws))
	for _, o := range ws {
		out = append(out, fromTree(&o))
	}
	return out
}

// ObjectArrived says that an object is now in the home's store; what it is the
// content of becomes visible.
func (f *Folder) ObjectArrived(h Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if changes := f.tree.ObjectReady(h, now()); len(changes) > 0 {
		f.post(Notice{Changes: changesOf(changes)})
	}
}
