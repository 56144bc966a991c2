package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/peer"
)

func (d *daemon) status(context.Context, struct{}, func(string)) (control.Status, error) {
	s := control.Status{
		Home: d.o.Home, Running: true, PID: os.Getpid(), Version: d.o.Version,
		Device:   control.DeviceStatus{ID: d.home.Device().String(), Name: d.home.DeviceName()},
		Listen:   append([]string{}, d.node.Addrs()...),
		Warnings: []string{}, Folders: []control.FolderStatus{},
	}
	freed, err := d.freed()
	if err != nil {
		return s, err
	}
	s.Freed = freed
	if free, err := freeBytes(d.o.Home); err == nil && free < lowBytes {
		s.Warnings = append(s.Warnings, fmt.Sprintf("little room is left on the disk of %s (%d KiB): what programs write may be refused, and is shared only once there is room", d.o.Home, free>>10))
	}
	for _, f := range d.home.Folders() {
		fs, err := d.folderStatus(f)
		if err != nil {
			return s, err
		}
		s.Folders = append(s.Folders, fs)
	}
	return s, nil
}

// lowBytes is how little room makes a warning. The database needs about half of it to go on.
const lowBytes = 32 << 20

// freeBytes is the room that is left on the disk of a directory.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

func (d *daemon) folderStatus(f *crdt.Folder) (control.FolderStatus, error) {
	cs := f.Status()
	r, err := d.record(f)
	if err != nil {
		return control.FolderStatus{}, err
	}
	s := control.FolderStatus{
		ID: f.ID().String(), Name: f.Name(), Path: r.Point, Mounted: d.mountOf(f) != nil, Plain: r.Plain,
		Files: cs.Files, Entries: cs.Entries, Wanted: cs.Wanted, WantedBytes: cs.WantedSz,
		Devices: []control.PeerStatus{}, Notes: []control.Note{}, Beside: cs.Beside,
	}
	if v := cs.First; v != nil {
		s.First = &control.First{Maker: v.Name, Since: v.Since, Entries: v.Entries}
	}
	for _, u := range cs.Unread {
		s.Unread = append(s.Unread, control.Unread{ID: u.Device.String(), Device: u.Name, Entries: u.Entries, Since: u.Since})
	}
	for _, h := range cs.Heads {
		s.Heads = append(s.Heads, control.Head{Path: h.Path, Device: h.Name, Head: h.Head})
	}
	if m := d.mountOf(f); m != nil && !r.Plain {
		mount := m.view.(*fs.Server)
		s.Held = mount.Held()
		for _, l := range mount.LocalNames() {
			s.Local = append(s.Local, control.Local{Path: l.Path, Dir: l.Dir, Files: l.Files, Bytes: l.Size, More: l.More, Hides: l.Hides})
		}
	}
	d.mu.Lock()
	s.Error = d.errs[f.ID()]
	d.mu.Unlock()
	if m := d.mountOf(f); m != nil {
		s.Writing = m.writing()
		cs.Notes = append(cs.Notes, m.view.Notes()...)
	}
	for _, p := range d.node.Status(f) {
		ps := peerStatus(p)
		ps.Open = d.openOn(f, p.Device)
		s.Devices = append(s.Devices, ps)
	}
	for _, n := range cs.Notes {
		s.Notes = append(s.Notes, control.Note{Kind: n.Kind, Path: n.Path, Text: n.Text, Time: n.Time})
	}
	return s, nil
}

func peerStatus(p peer.PeerStatus) control.PeerStatus {
	s := control.PeerStatus{
		ID: p.Device.String(), Name: p.Name, Connected: p.Connected, Address: p.Address,
		EntriesToSend: p.EntriesToSend, EntriesToGet: p.EntriesToGet,
		BytesToSend: p.BytesToSend, BytesToGet: p.BytesToGet, LastError: p.LastError, Rules: p.Rules,
	}
	if !p.Seen.IsZero() {
		s.Seen = &p.Seen
	}
	if !p.Diverged.IsZero() {
		s.Diverged = &p.Diverged
	}
	return s
}

// sync publishes, and with Wait waits until the connected devices are in step.
func (d *daemon) sync(ctx context.Context, r control.SyncRequest, say func(string)) (control.SyncReply, error) {
	none := control.SyncReply{}
	folders := d.home.Folders()
	if r.Path != "" {
		f, _, err := d.folderAt(r.Path)
		if err != nil {
			return none, err
		}
		folders = []*crdt.Folder{f}
	}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	reply := control.SyncReply{Folders: []control.FolderStatus{}}
	for _, f := range folders {
		if m := d.mountOf(f); m != nil {
			if err := m.view.Settle(); err != nil {
				return none, err
			}
		}
		if err := f.Sync(); err != nil {
			return none, err
		}
		if r.Wait && !alone(f) {
			if err := d.syncFolder(ctx, f, say); errors.Is(err, context.DeadlineExceeded) {
				return none, control.Errorf(control.Timeout, "folder %q is not in step after %v: %s", f.Name(), r.Timeout, d.behind(f)).
					WithHint("it goes on by itself; sheaf status shows how far it is")
			} else if err != nil {
				return none, err
			}
		}
		s, err := d.folderStatus(f)
		if err != nil {
			return none, err
		}
		reply.Folders = append(reply.Folders, s)
	}
	return reply, nil
}

// publish makes what programs have written part of the folder.
func (d *daemon) publish(f *crdt.Folder) error {
	if m := d.mountOf(f); m != nil {
		return m.view.Flush()
	}
	return nil
}

// behind says which devices a folder waits for.
func (d *daemon) behind(f *crdt.Folder) string {
	var parts []string
	for _, p := range d.node.Status(f) {
		switch {
		case !p.Connected:
			parts = append(parts, p.Name+" is not connected")
		case p.EntriesToGet+p.EntriesToSend > 0 || p.BytesToGet+p.BytesToSend > 0:
			parts = append(parts, fmt.Sprintf("%s: %d entries and %d bytes to get, %d and %d to send",
				p.Name, p.EntriesToGet, p.BytesToGet, p.EntriesToSend, p.BytesToSend))
		}
	}
	if len(parts) == 0 {
		return "no device has answered yet"
	}
	return strings.Join(parts, "; ")
}

// syncFolder waits until every connected device and this one hold the same, and until at
// least one is connected. It says whom it waits for.
func (d *daemon) syncFolder(ctx context.Context, f *crdt.Folder, say func(string)) error {
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { done <- d.node.SyncWait(ctx, f) }()
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			say("waiting: " + d.behind(f))
		}
	}
}

// alone reports whether a folder has no other device. One that was just joined does not
// know its own admission yet, and is not alone.
func alone(f *crdt.Folder) bool {
	ds := f.Devices()
	return len(ds) == 1 && ds[0].Self
}

// fileAt finds a path's folder and node.
func (d *daemon) fileAt(path string) (*crdt.Folder, crdt.Info, error) {
	f, rel, err := d.folderAt(path)
	if err != nil {
		return nil, crdt.Info{}, err
	}
	// What was saved a moment ago counts.
	if err := d.publish(f); err != nil {
		return nil, crdt.Info{}, err
	}
	info, err := f.Resolve(rel)
	if errors.Is(err, crdt.ErrNotExist) {
		err = control.Errorf(control.NotFound, "%s: no such file in folder %q", path, f.Name())
	}
	return f, info, err
}

func (d *daemon) trust(_ context.Context, r control.PathRequest, _ func(string)) (struct{}, error) {
	f, info, err := d.fileAt(r.Path)
	if err != nil {
		return struct{}{}, err
	}
	if info.Kind != crdt.Symlink {
		return struct{}{}, control.Errorf(control.Usage, "%s is no symlink", r.Path)
	}
	return struct{}{}, fs.Trust(f, info.Node)
}

func (d *daemon) export(_ context.Context, r control.PathRequest, _ func(string)) (control.ExportReply, error) {
	f, info, err := d.fileAt(r.Path)
	if err != nil {
		return control.ExportReply{}, err
	}
	if info.Kind != crdt.File || info.Object != nil {
		return control.ExportReply{}, control.Errorf(control.Usage, "%s is not a text, so it is no Automerge document", r.Path)
	}
	doc, err := f.Automerge(info.Node)
	return control.ExportReply{Document: doc}, err
}
