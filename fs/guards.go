package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// An editor that finds its file newer than when it read it asks whether it may
// overwrite the changes. It does not: its save is merged. So while a process has
// an unsaved buffer it goes on seeing the time and size of the version it read,
// until it reads again or saves. Attributes of such a file are asked for each
// time; whether there is an unsaved buffer, the swap files of vim and neovim and
// the lock link of emacs tell. nano and LibreOffice never reload a file, and emacs
// only one that it watches: they are always answered so.

// guard is what one process goes on seeing.
type guard struct {
	version crdt.Version
	size    int64
	mtime   time.Time
}

// guard notes who had read a version before the next one and still runs. The
// caller holds in.mu.
func (fs *filesystem) guard(in *inode, next crdt.Version) {
	for p := range in.guards {
		if !p.alive() {
			delete(in.guards, p)
		}
	}
	for _, r := range fs.reads.latest(in.node) {
		g := guard{version: r.version}
		if now, ok := in.guards[r.process]; ok && now.version.Equal(g.version) || r.version.Equal(next) {
			continue
		}
		switch {
		case in.loaded && in.version.Equal(g.version):
			g.size, g.mtime = in.size(), in.mtime
		case in.saved && in.savedVersion.Equal(g.version):
			g.size, g.mtime = in.savedSize, in.savedMtime
		case in.shownLast != nil && in.shownLast.version.Equal(g.version):
			g.size, g.mtime = in.shownLast.size, in.shownLast.mtime
		case r.shown != nil: // the kernel had forgotten the file meanwhile
			g.size, g.mtime = r.shown.size, r.shown.mtime
		default:
			continue
		}
		if !r.alive() {
			continue
		}
		if in.guards == nil {
			in.guards = map[process]guard{}
		}
		in.guards[r.process] = g
	}
}

// guardAgain is guard for a file that the kernel had forgotten, and the mount with it: whoever read
// it before still goes on seeing that.
func (fs *filesystem) guardAgain(in *inode, now crdt.Version) {
	for _, r := range fs.reads.latest(in.node) {
		if !r.version.Equal(now) {
			in.mu.Lock()
			defer in.mu.Unlock()
			fs.guard(in, now)
			return
		}
	}
}

// unguard ends what a process was shown, since it has read a version. It runs on
// the queue.
func (fs *filesystem) unguard(in *inode, c *caller, v crdt.Version) {
	c.wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	if g, ok := in.guards[c.process]; ok && !g.version.Equal(v) {
		delete(in.guards, c.process)
	}
}

// guardAttr answers a process that has an unsaved buffer of what it read. The
// caller holds in.mu.
func (fs *filesystem) guardAttr(in *inode, who *caller, out *fuse.Attr) {
	g, ok := in.guards[who.process]
	if fault.On("fs-show-new-times") || !ok || in.sess != nil && in.sess.dirty {
		return
	}
	info, err := fs.folder.Get(in.node)
	if err != nil || !slices.Contains(fs.unsaved(info), who.pid) && !fs.neverReloads(in, who.pid, info.Parent) && !swapsElsewhere(who.pid, info.Name) {
		return
	}
	out.Size = uint64(g.size)
	out.Blocks = uint64(g.size+511) / 512
	out.SetTimes(&g.mtime, &g.mtime, &g.mtime)
}

// unsaved lists the processes of this machine that say they have unsaved
// changes of a file.
func (fs *filesystem) unsaved(info crdt.Info) (pids []int) {
	dir := fs.localDir(info.Parent)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range list {
		name := e.Name()
		switch {
		case swapOf(name) == info.Name:
			if pid := swapOwner(filepath.Join(dir, name)); pid > 0 {
				pids = append(pids, pid)
			}
		case name == ".#"+info.Name:
			if target, err := os.Readlink(filepath.Join(dir, name)); err == nil {
				if pid := lockOwner(target); pid > 0 {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// neverReloads tells whether a process looks at a file that it has read only to warn
// before it edits or saves. nano keeps no trace of unsaved changes unless told to lock.
// Emacs asks at the first key typed into a buffer that is not up to date, before it
// locks the file; with auto-revert-mode it watches the file's directory, and reloads.
func (fs *filesystem) neverReloads(in *inode, pid int, dir crdt.NodeID) bool {
	st, ok := readStat(pid)
	switch {
	case !ok:
		return false
	case st.program == "nano", st.program == "soffice.bin":
		return true
	case strings.HasPrefix(st.program, "emacs"):
		return !watches(pid, in.ino, fs.inoFor(dir, nil))
	}
	return false
}

// watches tells whether a process watches, by inotify, one of these inode numbers.
func watches(pid int, inos ...uint64) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err != nil || to != "anon_inode:inotify" {
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, e.Name()))
		if err != nil {
			continue
		}
		for _, ino := range inos {
			if strings.Contains(string(info), fmt.Sprintf(" ino:%x ", ino)) {
				return true
			}
		}
	}
	return false
}

// swapsElsewhere tells whether a process has an open swap file with unsaved
// changes of a file of that name outside of the file's directory, where neovim
// puts them, and vim if told to.
func swapsElsewhere(pid int, name string) bool {
	return slices.ContainsFunc(openSwaps(pid, name), func(path string) bool { return swapOwner(path) == pid })
}

// The first block of vim's swap file: the process at 24, and at 1007 whether
// the buffer has changes.
const (
	swapPID   = 24
	swapDirty = 1007
	swapHead  = 1008
	dirtyMark = 0x55
)

// swapOwner is the process that has unsaved changes in a swap file, or 0.
func swapOwner(path string) int {
	if pid, changed := swapHeader(path); changed {
		return pid
	}
	return 0
}

// lockOwner finds the process in the target of an emacs lock, user@host.pid:boot.
func lockOwner(target string) int {
	target, _, _ = strings.Cut(target, ":")
	i := strings.LastIndexByte(target, '.')
	pid, _ := strconv.Atoi(target[i+1:])
	return pid
}
