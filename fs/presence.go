package fs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

// OpenFile is a file of the folder that somebody works with.
type OpenFile struct {
	Node    crdt.NodeID
	Writing bool   // it is open for writing, or in an editor
	Program string // the first 15 bytes of the program's name, empty if not known
}

// openFor is how long a file has been open before it counts: what a search or a copy
// opens in passing does not.
const openFor = 300 * time.Millisecond

// indexers read every file by and by, for nobody in particular.
var indexers = []string{"tracker-", "localsearch", "baloo", "updatedb", "plocate", "mlocate", "recollindex", "clamd", "clamscan"}

func isIndexer(program string) bool {
	return slices.ContainsFunc(indexers, func(p string) bool { return strings.HasPrefix(program, p) })
}

// Open lists the files that programs on this device have open for longer than a moment,
// those that are written first. Editors that close a file once they have read it are known
// by the trace they keep: vim and neovim by their swap files, emacs by the lock of a changed
// buffer, nano by having read it and still running. Indexers do not count.
func (s *Server) Open() []OpenFile { return s.opened(openFor) }

// Writing lists the files that programs have open for writing, or in an editor, now.
func (s *Server) Writing() []OpenFile {
	return slices.DeleteFunc(s.opened(0), func(f OpenFile) bool { return !f.Writing })
}

func (s *Server) opened(least time.Duration) []OpenFile {
	open := openFiles{}
	s.fs.openHandles(open, time.Now().Add(-least))
	s.fs.inEditors(open)
	list := make([]OpenFile, 0, len(open))
	for _, f := range open {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b OpenFile) int {
		if a.Writing != b.Writing {
			return cmp.Compare(b2i(b.Writing), b2i(a.Writing))
		}
		return bytes.Compare(a.Node[:], b.Node[:])
	})
	return list
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// openFiles gathers one line a file: a writer stands before a reader, then the name decides,
// so that the line does not change without a cause.
type openFiles map[crdt.NodeID]OpenFile

func (o openFiles) add(f OpenFile) {
	old, ok := o[f.Node]
	if ok && (old.Writing && !f.Writing || old.Writing == f.Writing && old.Program <= f.Program) {
		return
	}
	o[f.Node] = f
}

func (fs *filesystem) openHandles(open openFiles, before time.Time) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	for _, h := range fs.handles {
		if h.poke || h.in.kind != crdt.File || !h.in.bound || h.in.gone || h.since.After(before) {
			continue
		}
		f := OpenFile{Node: h.in.node, Writing: h.writes()}
		if h.by != nil {
			select {
			case <-h.by.done:
				f.Program = h.by.program
			default: // it will be known the next time
			}
		}
		if !isIndexer(f.Program) {
			open.add(f)
		}
	}
}

// inEditors adds the files whose editors left a trace.
func (fs *filesystem) inEditors(open openFiles) {
	for _, dir := range fs.locals.holders() {
		for name := range fs.locals.list(dir) {
			pid, of := 0, ""
			if of = swapOf(name); of != "" {
				pid, _ = swapHeader(fs.localPath(dir, name))
			} else if of, _ = strings.CutPrefix(name, ".#"); of != name {
				if target, err := os.Readlink(fs.localPath(dir, name)); err == nil {
					pid = lockOwner(target)
				}
			}
			if pid == 0 {
				continue
			}
			st, ok := readStat(pid)
			if !ok || !isEditor(st.program) { // a trace of one that was killed
				continue
			}
			if info, err := fs.folder.Resolve(join(fs.folder.Path(dir), of)); err == nil && info.Kind == crdt.File {
				open.add(OpenFile{Node: info.Node, Writing: true, Program: st.program})
			}
		}
	}
	for _, e := range fs.reads.editing() {
		info, err := fs.folder.Get(e.node)
		if err == nil && (e.program == "nano" || hasSwap(e.pid, info.Name)) {
			open.add(OpenFile{Node: e.node, Writing: true, Program: e.program})
		}
	}
}

// isEditor tells whether a process of that name may have left an editor's trace.
func isEditor(program string) bool {
	return keepsElsewhere(program) || strings.Contains(program, "vi") || program == "ex" || strings.HasPrefix(program, "emacs")
}

// keepsElsewhere tells whether an editor of that name keeps its traces outside of the folder.
func keepsElsewhere(program string) bool {
	return program == "nano" || program == "nvim" || program == "vim"
}

// editor is a living process that edits, and a file that it has read.
type editor struct {
	process
	program string
	node    crdt.NodeID
}

// editorsSeen is which processes are editors that keep no trace in the folder.
type editorsSeen struct {
	mu   sync.Mutex
	seen map[process]string // with the program's name
}

const maxEditors = 256

func (e *editorsSeen) note(c *caller) {
	if !keepsElsewhere(c.program) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil || len(e.seen) >= maxEditors {
		e.seen = map[process]string{}
	}
	e.seen[c.process] = c.program
}

// living returns those that still run.
func (e *editorsSeen) living() map[process]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[process]string{}
	for p, program := range e.seen {
		if !p.alive() {
			delete(e.seen, p)
			continue
		}
		out[p] = program
	}
	return out
}

// editing lists what living editors have read.
func (t *readTable) editing() (out []editor) {
	living := t.editors.living()
	if len(living) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for node, list := range t.nodes {
		for _, r := range list {
			if program, ok := living[r.process]; ok {
				out = append(out, editor{r.process, program, node})
			}
		}
	}
	return out
}

// swapHeader reads what vim's swap file says: whose it is, and whether the buffer has
// changes. The process is 0 if it is none.
func swapHeader(path string) (pid int, changed bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var b [swapHead]byte
	if _, err := f.ReadAt(b[:], 0); err != nil || string(b[:2]) != "b0" {
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(b[swapPID:])), b[swapDirty] == dirtyMark
}

// hasSwap tells whether a process has an open swap file, somewhere, of a file of that name.
func hasSwap(pid int, name string) bool {
	return slices.ContainsFunc(openSwaps(pid, name), func(path string) bool {
		owner, _ := swapHeader(path)
		return owner == pid
	})
}

// openSwaps lists the swap files of files of that name that a process has open, as
// paths in /proc. Outside of the file's directory they are named after its whole path.
func openSwaps(pid int, name string) (paths []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range list {
		path := dir + "/" + e.Name()
		target, err := os.Readlink(path)
		if err != nil {
			continue
		}
		// %the%whole%path.swp, or the file's own name
		base := target[strings.LastIndexAny(target, "/%")+1:]
		if swapOf("."+strings.TrimPrefix(base, ".")) == name {
			paths = append(paths, path)
		}
	}
	return paths
}
