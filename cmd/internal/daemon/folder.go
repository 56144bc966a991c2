package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer"
)

// CheckTicket says whether a ticket is one at all, without asking anybody.
func CheckTicket(ticket string) error {
	_, err := peer.ParseTicket(ticket)
	return err
}

// init makes a folder and mounts it.
func (d *daemon) init(ctx context.Context, r control.InitRequest, say func(string)) (control.Mounted, error) {
	d.ops.Lock()
	defer d.ops.Unlock()
	none := control.Mounted{}
	if err := d.checkPlace(r.Path, Place{Import: r.Import, Plain: r.Plain, Filled: r.Plain}); err != nil {
		return none, err
	}
	name := r.Name
	if name == "" {
		name = folderName(r.Path)
	}
	f, err := d.home.CreateFolder(name)
	if err != nil {
		return none, err
	}
	if err := d.begin(f, making{r.Path, r.Import}); err != nil {
		return none, errors.Join(err, d.forget(f))
	}
	m := control.Mounted{ID: f.ID().String(), Name: f.Name(), Path: r.Path}
	if r.Import {
		in, err := d.importDir(ctx, f, r.Path, say)
		if err != nil {
			return none, errors.Join(err, d.forget(f))
		}
		m.Imported = &in
	}
	if err := d.mountNew(f, mountRecord{Point: r.Path, Plain: r.Plain}); err != nil {
		if r.Import { // put the original back where it was
			err = errors.Join(err, os.Remove(r.Path), os.Rename(m.Imported.Original, r.Path))
		}
		return none, errors.Join(err, d.forget(f))
	}
	return m, d.made(f)
}

// mountNew gives a folder its mount point for good.
func (d *daemon) mountNew(f *crdt.Folder, r mountRecord) error {
	if err := d.mount(f, r); err != nil {
		return err
	}
	// Mounting something is a person's wish to be up.
	return SetDown(d.o.Home, false)
}

// checkPlace is CheckPlace, and no other folder's place.
func (d *daemon) checkPlace(path string, p Place) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return control.Errorf(control.Usage, "%s: not a clean absolute path", path)
	}
	for _, f := range d.home.Folders() {
		r, err := d.record(f)
		if err != nil {
			return err
		}
		if r.Point == path {
			return control.Errorf(control.Exists, "%s is the place of folder %q already", path, f.Name()).
				WithHint("sheaf up mounts it; another folder needs another path")
		}
		if r.Point != "" && (within(path, r.Point) || within(r.Point, path)) {
			return control.Errorf(control.InUse, "%s: folder %q has its place on %s", path, f.Name(), r.Point).
				WithHint("choose another path, or mount it with sheaf up")
		}
	}
	return CheckPlace(path, d.o.Home, p)
}

// folderName makes a name out of a path.
func folderName(path string) string {
	name := filepath.Base(path)
	if name == "/" {
		return "folder"
	}
	return name
}

// folderAt finds the folder whose place path lies in, and the path inside it ("" for the
// folder itself). It works on names alone, so it does whether or not anything is mounted.
func (d *daemon) folderAt(path string) (f *crdt.Folder, rel string, err error) {
	for _, g := range d.home.Folders() {
		r, err := d.record(g)
		if err != nil {
			return nil, "", err
		}
		if r.Point != "" && within(path, r.Point) {
			rel := strings.TrimPrefix(strings.TrimPrefix(path, r.Point), "/")
			return g, rel, nil
		}
	}
	return nil, "", control.Errorf(control.NotFound, "%s is in no folder of this device", path).
		WithHint("sheaf status lists the folders; is it another --home?")
}

// invite makes a ticket. Who joins with it finds what was written before: new files would
// otherwise rest for a moment.
func (d *daemon) invite(_ context.Context, r control.PathRequest, _ func(string)) (control.InviteReply, error) {
	f, _, err := d.folderAt(r.Path)
	if err != nil {
		return control.InviteReply{}, err
	}
	if m := d.mountOf(f); m != nil {
		if err := m.view.Flush(); err != nil {
			return control.InviteReply{}, err
		}
	}
	t, err := d.node.Ticket(f)
	return control.InviteReply{Ticket: t}, err
}

// join redeems a ticket, mounts the folder and waits for its first sync.
func (d *daemon) join(ctx context.Context, r control.JoinRequest, say func(string)) (control.Mounted, error) {
	none := control.Mounted{}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	f, err := d.joinMount(ctx, r, say)
	if err != nil {
		return none, err
	}
	if f.Unconfirmed() {
		say(fmt.Sprintf("folder %q can be read on %s already; it is read only until it has arrived", f.Name(), r.Path))
	}
	m := control.Mounted{ID: f.ID().String(), Name: f.Name(), Path: r.Path}
	if err := d.syncFolder(ctx, f, say); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return none, control.Errorf(control.Timeout, "folder %q is joined and mounted on %s, but not all of it is here after %v", f.Name(), r.Path, r.Timeout).
				WithHint("it goes on by itself; sheaf sync --wait waits for it")
		}
		return none, err
	}
	d.shown(ctx, f)
	return m, nil
}

func (d *daemon) joinMount(ctx context.Context, r control.JoinRequest, say func(string)) (*crdt.Folder, error) {
	d.ops.Lock()
	defer d.ops.Unlock()
	// Everything that can be refused is, before the ticket is used up.
	if err := d.checkPlace(r.Path, Place{Plain: r.Plain}); err != nil {
		return nil, err
	}
	t, err := peer.ParseTicket(r.Ticket)
	if err != nil {
		return nil, err
	}
	if g, err := d.home.Folder(t.Folder); err == nil {
		if rec, err := d.record(g); err == nil && rec.Point != "" {
			return nil, control.Errorf(control.Exists, "folder %q is on this device already, on %s", g.Name(), rec.Point).
				WithHint("the ticket was not used by this")
		}
	}
	say("asking " + t.Device.Short() + " to let this device in")
	f, err := d.node.Join(ctx, r.Ticket)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, control.Errorf(control.Timeout, "the inviting device %s did not answer within %v", t.Device.Short(), r.Timeout).
				WithHint("it has to be up and reachable: sheaf status there")
		}
		return nil, err
	}
	rec := mountRecord{Point: r.Path, Plain: r.Plain}
	if err := d.mountNew(f, rec); err != nil {
		// The ticket is used up, so the folder stays; its place is remembered.
		e := *explain(err)
		e.Message = fmt.Sprintf("folder %q is joined but not mounted: %s", f.Name(), e.Message)
		return nil, errors.Join(&e, d.setRecord(f, rec))
	}
	return f, nil
}

// up mounts everything.
func (d *daemon) up(_ context.Context, _ control.UpRequest, _ func(string)) (control.UpReply, error) {
	d.ops.Lock()
	defer d.ops.Unlock()
	if err := SetDown(d.o.Home, false); err != nil {
		return control.UpReply{}, err
	}
	r := control.UpReply{Folders: []control.Mounted{}, Failed: d.mountAll()}
	for _, m := range d.allMounted() {
		r.Folders = append(r.Folders, control.Mounted{ID: m.folder.ID().String(), Name: m.folder.Name(), Path: m.point()})
	}
	return r, nil
}

// down unmounts everything and ends the daemon once the reply is out.
func (d *daemon) down(_ context.Context, _ struct{}, say func(string)) (control.DownReply, error) {
	d.ops.Lock()
	defer d.ops.Unlock()
	if err := SetDown(d.o.Home, true); err != nil {
		say("the next command that needs the daemon mounts everything again: " + err.Error())
	}
	r := control.DownReply{PID: os.Getpid(), Unmounted: []string{}}
	// Answers end while their files can still say so; who waits for one is let go.
	if err := d.closeAsks(); err != nil {
		return r, err
	}
	for _, m := range d.allMounted() {
		writing, point := m.writing(), m.point()
		busy, err := d.unmount(m)
		if err != nil {
			return r, err
		}
		r.Unmounted = append(r.Unmounted, point)
		if busy {
			r.Busy = append(r.Busy, point)
			for _, rel := range writing {
				r.Writing = append(r.Writing, filepath.Join(point, rel))
			}
		}
	}
	d.stop()
	return r, nil
}

// sayEvery is how often a wait says whom it waits for.
const sayEvery = 3 * time.Second
