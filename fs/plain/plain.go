package plain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/fs/ignore"
	"github.com/sheaf-fs/sheaf/fs/turns"
)

const (
	// Own is the name in the directory's top that is sheaf's own.
	Own = ".sheaf"

	markFile = "folder" // in Own: which folder the directory belongs to

	// A directory is looked at once nothing happened in it for settle, which an
	// editor's save does not exceed, and after atMost in any case.
	settle = 100 * time.Millisecond
	atMost = time.Second
	// retry is when to look again at what could not be dealt with.
	retry = 300 * time.Millisecond
	// doubtFor is when everything is compared after changes were in each other's way.
	doubtFor = 2 * time.Second
	// unwatched is how often everything is looked at where not everything can be watched.
	unwatched = 10 * time.Second
)

// The kinds of errors of Attach.
var (
	ErrForeign = errors.New("the directory belongs to another folder")
	ErrChanged = errors.New("the directory is not the one that was kept in step")
)

// Options for keeping a directory in step.
type Options struct {
	Logger *slog.Logger // nil: nothing is logged

	clock func() time.Time // of turns; nil: time.Now
}

// Dir is an ordinary directory that is kept in step with a folder. Its methods
// may be called from several goroutines.
type Dir struct {
	folder *crdt.Folder
	home   *crdt.Home
	root   string
	dev    uint64
	log    *slog.Logger
	notify *fsnotify.Watcher
	cancel func() // ends the subscription
	atimes bool   // the filesystem notes that a file is read
	turns  *turns.Table

	// What follows belongs to the goroutine of run.
	table  *table
	rules  *Rules
	unread map[*entry]int       // descriptors of files that nobody may have read yet
	since  map[string]time.Time // files whose writer is waited for, by path
	warned map[string]bool
	old    []replaced // files whose last look is still to come
	serial int
	broken bool // the table may be ahead of what is stored

	sweeping bool // of what is known of turns there will be a sweep

	doubtful atomic.Bool

	mu    sync.Mutex
	marks marks
	ended bool
	err   error

	wake chan struct{}
	stop chan struct{}
	once sync.Once
	done chan struct{}
}

// marks is what there is to do.
type marks struct {
	look    map[string]bool // directories of the disk, relative
	files   map[string]bool // files that an event named, whatever their status says
	lookAll bool
	first   time.Time // when the oldest of them was made
	last    time.Time

	show    map[crdt.NodeID]bool // directories of the folder
	update  map[crdt.NodeID]bool // files and directories whose place stays
	showAll bool

	late    []replaced // files that were replaced a moment ago
	turns   []turns.Change
	sweep   bool         // of turns
	waiters []chan error // of Flush
}

// Attach begins to keep the directory root in step. What it holds is taken for
// changes made here since it was last attached; the first time, all of it is.
func Attach(f *crdt.Folder, h *crdt.Home, root string, o Options) (*Dir, error) {
	if o.clock == nil {
		o.clock = time.Now
	}
	d := &Dir{
		folder: f, home: h, root: root, log: o.Logger, rules: NewRules(root, ""),
		unread: map[*entry]int{}, since: map[string]time.Time{}, warned: map[string]bool{}, turns: turns.New(o.clock),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	f.NoFirst() // a directory can be written to whatever the folder says of it
	if err := d.begin(); err != nil {
		return nil, fmt.Errorf("%s: %w", root, err)
	}
	d.cancel = f.Subscribe(d.notice)
	d.mark(func(m *marks) { m.lookAll, m.showAll = true, true })
	go d.run()
	go d.listen()
	return d, nil
}

func (d *Dir) begin() error {
	st, err := lstat(d.root)
	if err != nil {
		return err
	}
	d.dev = st.Dev
	if d.table, err = loadTable(d.folder); err != nil {
		return err
	}
	if err := d.claim(len(d.table.root.children) > 0); err != nil {
		return err
	}
	if err := os.RemoveAll(d.scratch("")); err != nil {
		return err
	}
	if err := os.MkdirAll(d.scratch(""), 0o700); err != nil {
		return err
	}
	d.atimes = accessTimesMove(d.scratch(""))
	d.notify, err = fsnotify.NewWatcher()
	return err
}

// claim marks the directory as the folder's, or checks that it is.
func (d *Dir) claim(before bool) error {
	mark := filepath.Join(d.root, Own, markFile)
	b, err := os.ReadFile(mark)
	switch {
	case err == nil && string(b) == d.folder.ID().String()+"\n":
		return nil
	case err == nil:
		return ErrForeign
	case !isGone(err):
		return err
	case before:
		return ErrChanged
	}
	if err := os.MkdirAll(filepath.Dir(mark), 0o700); err != nil {
		return err
	}
	return os.WriteFile(mark, []byte(d.folder.ID().String()+"\n"), 0o600)
}

// present fails where the directory is not there any more, or is another one.
func (d *Dir) present() error {
	if err := d.claim(true); err != nil {
		return fmt.Errorf("%s: %w", d.root, err)
	}
	return nil
}

// scratch is where files are made and kept before they go; on the disk of the directory.
func (d *Dir) scratch(name string) string { return filepath.Join(d.root, Own, "tmp", name) }

// Flush returns when everything that was on the disk is in the folder, and the
// other way round, but for files that are just being written.
func (d *Dir) Flush() error {
	ch := make(chan error, 1)
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return d.err
	}
	d.marks.waiters = append(d.marks.waiters, ch)
	d.mu.Unlock()
	d.poke()
	return <-ch
}

// Settle is Flush: nothing is kept back.
func (d *Dir) Settle() error { return d.Flush() }

// Shown waits until the directory shows what the folder held when it was called,
// as far as nothing holds that back. It gives up when ctx is done.
func (d *Dir) Shown(ctx context.Context) {
	told := make(chan struct{})
	d.folder.Told(func() { close(told) })
	select {
	case <-told:
		_ = d.Flush()
	case <-d.done:
	case <-ctx.Done():
	}
}

// Wait returns when the directory is not kept in step any more; the error says
// why, and is nil after Close.
func (d *Dir) Wait() error {
	<-d.done
	return d.err
}

// Close publishes what is on the disk and ends. When ctx is done first it
// returns, and the rest is found at the next start.
func (d *Dir) Close(ctx context.Context) error {
	d.once.Do(func() { close(d.stop) })
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mark adds to what there is to do.
func (d *Dir) mark(fn func(*marks)) {
	d.mu.Lock()
	fn(&d.marks)
	d.mu.Unlock()
	d.poke()
}

func (d *Dir) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// touched marks a directory of the disk, and the name in it that something happened to.
func (d *Dir) touched(dir, name string) {
	d.mark(func(m *marks) {
		if m.look == nil {
			m.look, m.files = map[string]bool{}, map[string]bool{}
		}
		now := time.Now()
		if len(m.look) == 0 && !m.lookAll {
			m.first = now
		}
		m.last = now
		m.look[dir] = true
		if name != "" {
			m.files[path.Join(dir, name)] = true
		}
	})
}

// later looks at a directory once more, shortly.
func (d *Dir) later(dir, name string) {
	time.AfterFunc(retry, func() { d.touched(dir, name) })
}

// listen takes what fsnotify tells; it ends with the watcher.
func (d *Dir) listen() {
	for {
		select {
		case ev, ok := <-d.notify.Events:
			if !ok {
				return
			}
			rel, err := filepath.Rel(d.root, ev.Name)
			if err != nil || rel == Own || len(rel) > len(Own) && rel[:len(Own)+1] == Own+"/" {
				continue
			}
			if rel == "." {
				d.touched("", "")
				continue
			}
			dir, name := path.Split(filepath.ToSlash(rel))
			if ev.Op&^fsnotify.Chmod == 0 {
				name = "" // its status tells
			}
			d.touched(path.Clean("/" + dir)[1:], name)
		case err, ok := <-d.notify.Errors:
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				d.mark(func(m *marks) { m.lookAll, m.first, m.last = true, time.Now(), time.Now() })
				continue
			}
			d.log.Warn("watching", "path", d.root, "err", err)
		}
	}
}

// notice marks what changed in the folder.
func (d *Dir) notice(n crdt.Notice) {
	change, byTurns := d.turns.Of(n)
	d.mark(func(m *marks) {
		if byTurns {
			m.turns = append(m.turns, change)
		}
		if m.show == nil {
			m.show, m.update = map[crdt.NodeID]bool{}, map[crdt.NodeID]bool{}
		}
		for _, c := range n.Changes {
			if c.What&crdt.PlaceChanged == 0 && !c.Alt {
				m.update[c.Node] = true
				continue
			}
			for _, p := range []crdt.Place{c.Before, c.After} {
				if p.Visible {
					m.show[p.Dir] = true
				}
			}
		}
	})
}

// due tells how long what is marked may wait; false: for more marks.
func (d *Dir) due() (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := &d.marks
	switch {
	case len(m.waiters) > 0:
		return 0, true
	case len(m.look) > 0 || m.lookAll && !m.first.IsZero():
		return min(time.Until(m.last.Add(settle)), time.Until(m.first.Add(atMost))), true
	case m.lookAll, m.showAll, len(m.show) > 0, len(m.update) > 0, len(m.late) > 0, len(m.turns) > 0, m.sweep:
		return 0, true
	}
	return 0, false
}

// run does what is marked, until the end.
func (d *Dir) run() {
	var err error
	defer func() {
		d.cancel()
		d.notify.Close()
		for _, fd := range d.unread {
			closeFD(fd)
		}
		d.mu.Lock()
		d.ended, d.err = true, err
		waiters := d.marks.waiters
		d.mu.Unlock()
		for _, w := range waiters {
			w <- err
		}
		close(d.done)
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if wait, ok := d.due(); ok && wait <= 0 {
			if err = d.pass(); err != nil {
				return
			}
			continue
		} else if ok {
			timer.Reset(wait)
		} else if d.warned["watch"] {
			timer.Reset(unwatched)
		}
		select {
		case <-d.wake:
		case <-timer.C:
			if d.warned["watch"] {
				d.mark(func(m *marks) { m.lookAll = true })
			}
		case <-d.stop:
			d.mark(func(m *marks) { m.lookAll, m.late = true, append(m.late, d.old...) })
			err = d.pass()
			return
		}
	}
}

// pass brings both in step, as far as it goes now. It fails where it can go on
// no more.
func (d *Dir) pass() error {
	d.mu.Lock()
	m := d.marks
	d.marks = marks{}
	d.mu.Unlock()
	if err := d.present(); err != nil {
		d.answer(m, err)
		return err
	}
	if len(m.waiters) > 0 {
		m.lookAll, m.showAll = true, true
	}
	err := d.both(m)
	if err != nil {
		d.log.Error("keeping in step", "path", d.root, "err", err)
		time.AfterFunc(time.Second, func() { d.mark(func(m *marks) { m.lookAll, m.showAll = true, true }) })
	}
	d.answer(m, err)
	return nil
}

func (d *Dir) answer(m marks, err error) {
	for _, w := range m.waiters {
		w <- err
	}
}

func (d *Dir) both(m marks) error {
	d.takeTurns(m)
	if d.broken {
		t, err := loadTable(d.folder)
		if err != nil {
			return err
		}
		d.table, d.broken, m.lookAll, m.showAll = t, false, true, true
	}
	if m.lookAll || len(m.look) > 0 {
		own, err := fs.LocalRules(d.home, d.folder)
		if err != nil {
			return err
		}
		d.rules.own = ignore.Parse(own)
		s := &scan{d: d, all: m.lookAll, files: m.files}
		s.look(m.look)
		if err := d.publish(s.ops); err != nil {
			d.broken = true
			return err
		}
	}
	if err := d.lastLook(m.late); err != nil {
		return err
	}
	if err := d.show(m); err != nil {
		d.broken = true
		return err
	}
	return nil
}
