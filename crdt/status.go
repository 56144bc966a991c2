package crdt

import (
	"slices"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/crdt/internal/kv"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

func nowTime() time.Time { return time.Now() }
func now() int64         { return time.Now().UnixNano() }

// maxNotes bounds what status keeps; the oldest go first.
const maxNotes = 200

func (f *Folder) loadNotes() error {
	f.notes = nil
	return storage("open", f.grant.Name, f.home.db.Scan(f.key('n'), func(_, v []byte) error {
		var n Note
		if err := decode(v, &n); err != nil {
			return err
		}
		f.notes = append(f.notes, n)
		return nil
	}))
}

// note adds to what status tells. It runs with mu held.
func (f *Folder) note(b *kv.Batch, n Note) {
	// What happens to a file again and again is said once, with the last time.
	if i := slices.IndexFunc(f.notes, func(o Note) bool { return o.Kind == n.Kind && o.Path == n.Path && o.Text == n.Text }); i >= 0 {
		b.Delete(f.noteKey(f.notes[i]))
		f.notes = slices.Delete(f.notes, i, i+1)
	}
	for len(f.notes) >= maxNotes {
		b.Delete(f.noteKey(f.notes[0]))
		f.notes = f.notes[1:]
	}
	if k := len(f.notes); k > 0 && !n.Time.After(f.notes[k-1].Time) {
		n.Time = f.notes[k-1].Time.Add(1)
	}
	n.Time = n.Time.Round(0)
	b.Set(f.noteKey(n), encode(n))
	f.notes = append(f.notes, n)
}

func (f *Folder) noteKey(n Note) []byte { return f.key('n', be64(uint64(n.Time.UnixNano()))) }

func (f *Folder) devices() []DeviceInfo {
	out := make([]DeviceInfo, 0, len(f.members))
	for d := range f.members {
		out = append(out, DeviceInfo{Device: d, Name: f.deviceName(d), Self: d == f.home.device})
	}
	slices.SortFunc(out, func(a, b DeviceInfo) int {
		if a.Self != b.Self {
			if a.Self {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name+a.Device.String(), b.Name+b.Device.String())
	})
	return out
}

// Status sums up the folder.
func (f *Folder) Status() Status {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := Status{
		ID: f.id, Name: f.grant.Name, Devices: f.devices(), Entries: f.order,
		Notes: slices.Clone(f.notes), First: f.firstView(), Unread: f.unreadDevices(),
	}
	f.seen().Walk(func(path string, e tree.Dirent) bool {
		switch {
		case e.Alt:
			s.Beside = append(s.Beside, path)
		case e.Kind == File:
			s.Files++
		case e.Kind == Dir:
			s.Heads = append(s.Heads, f.heads(path, e.Node)...)
		}
		return true
	})
	s.Heads = append(f.heads("", Root), s.Heads...)
	for _, o := range f.wanted() {
		s.Wanted++
		s.WantedSz += o.Size
	}
	return s
}

// Sync returns when everything that returned before it is durable.
func (f *Folder) Sync() error { return f.home.Sync() }
