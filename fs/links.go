package fs

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// A symlink that leads out of the folder makes programs here read and write files
// of this machine that another device chose. So one that was made elsewhere
// dangles, into .sheaf/outside, where nothing is, until somebody here trusts it.
// A link inside the folder is followed wherever it was made.

const (
	linkPrefix  = "link/" // local mark of a link made or trusted here
	outsideName = "outside"
)

// Trust lets a symlink of the folder lead out of it on this device. It returns
// crdt.ErrInvalid for what is no symlink.
func Trust(f *crdt.Folder, node crdt.NodeID) error {
	info, err := f.Get(node)
	if err != nil {
		return err
	}
	if info.Kind != crdt.Symlink {
		return &crdt.Error{Op: "trust", Path: f.Path(node), Kind: crdt.ErrInvalid, Hint: "only symlinks need it"}
	}
	return f.Update(func(tx *crdt.Tx) error {
		TrustLink(tx, node)
		return nil
	})
}

// TrustLink does what Trust does in an update of the folder.
func TrustLink(tx *crdt.Tx, node crdt.NodeID) { tx.SetLocal(linkPrefix+node.String(), []byte{1}) }

// Readlink implements fuse.RawFileSystem.
func (fs *filesystem) Readlink(cancel <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	if toLocal(h) {
		return fs.local.Readlink(cancel, h)
	}
	in := fs.get(h.NodeId)
	if in == nil || in.kind != crdt.Symlink {
		return nil, fuse.EINVAL
	}
	if in.isCrossed() {
		return nil, fuse.Status(syscall.ESTALE)
	}
	info, err := fs.folder.Get(in.node)
	if err != nil {
		return nil, status(err)
	}
	return []byte(fs.leadsTo(info)), fuse.OK
}

// leadsTo is the target that programs are given.
func (fs *filesystem) leadsTo(info crdt.Info) string {
	if !strings.HasPrefix(info.Target, "/") && !strings.Contains(info.Target, "..") {
		return info.Target
	}
	depth := 0
	if dir := strings.Trim(fs.folder.Path(info.Parent), "/"); dir != "" {
		depth = strings.Count(dir, "/") + 1
	}
	if !leaves(info.Target, depth) {
		return info.Target
	}
	mark, err := fs.folder.Local(linkPrefix + info.Node.String())
	if err == nil && mark != nil || fault.On("fs-follow-foreign") {
		return info.Target
	}
	return strings.Repeat("../", depth) + virtualName + "/" + outsideName + "/" + strings.TrimLeft(info.Target, "/")
}

// leaves tells whether a target may lead out of the folder from depth directories
// below its root. It may climb first and descend then; ".." after a name may be
// above a directory elsewhere, if that name is a symlink.
func leaves(target string, depth int) bool {
	if strings.HasPrefix(target, "/") {
		return true
	}
	descended := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 || descended {
				return true
			}
		default:
			descended = true
		}
	}
	return false
}
