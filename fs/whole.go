package fs

import (
	"strings"
	"sync"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/fs/attributes"
)

// Which files are kept whole is decided when bytes are published, by the name that they are
// published under (package attributes). What the folder holds of .gitattributes counts, not
// what is still being written.

// attributeFiles keeps what was read.
type attributeFiles struct {
	mu    sync.Mutex
	files map[crdt.NodeID]attributeFile // by node
}

type attributeFile struct {
	version crdt.Version
	file    attributes.File
}

// maxAttributeFiles bounds how many are kept.
const maxAttributeFiles = 1024

// keepsWhole tells whether the file at a place is kept whole; names below what is there already
// have no .gitattributes of their own yet.
func (fs *filesystem) keepsWhole(s spot) bool {
	if fault.On("fs-merge-everything") {
		return false
	}
	return attributes.Whole(strings.Join(s.names, "/"), func(n int) attributes.File {
		if n >= len(s.dirs) {
			return attributes.File{}
		}
		return fs.attributesIn(s.dirs[n])
	})
}

// nodeWhole is keepsWhole for a file of the folder.
func (fs *filesystem) nodeWhole(node crdt.NodeID) bool {
	p, ok := fs.folder.LastPlace(node)
	return ok && fs.keepsWhole(fs.spotOf(p.Dir).under(p.Name))
}

// inodeWhole is keepsWhole for what an inode is, or will be. The caller holds in.mu.
func (fs *filesystem) inodeWhole(in *inode) bool {
	switch {
	case in.bound:
		return fs.nodeWhole(in.node)
	case in.parent == nil:
		return false
	}
	return fs.keepsWhole(fs.spotOf(in.parent.node).under(in.name))
}

func (fs *filesystem) attributesIn(dir crdt.NodeID) attributes.File {
	if !fs.folder.Names(dir, attributes.Name) {
		return attributes.File{} // as nearly everywhere
	}
	info, err := fs.folder.Lookup(dir, attributes.Name)
	if err != nil || info.Kind != crdt.File {
		return attributes.File{}
	}
	fs.attributes.mu.Lock()
	defer fs.attributes.mu.Unlock()
	if f, ok := fs.attributes.files[info.Node]; ok && f.version.Equal(info.Version) {
		return f.file
	}
	c, err := fs.folder.Content(info.Node)
	if err == nil {
		c, err = fs.home.Readable(c)
	}
	if err != nil {
		return attributes.File{}
	}
	f := attributeFile{c.Version, attributes.Parse(c.Text)}
	if fs.attributes.files == nil || len(fs.attributes.files) >= maxAttributeFiles {
		fs.attributes.files = map[crdt.NodeID]attributeFile{}
	}
	fs.attributes.files[info.Node] = f
	if f.file.Cut && fs.queue != nil {
		fs.later(0, func() { fs.noteCut(dir, attributes.Name) })
	}
	return f.file
}

// as gives content the form that a file takes.
func (fs *filesystem) as(c crdt.Holding, whole bool) (crdt.Holding, error) {
	if whole == (c.Object != nil) {
		return c, nil
	}
	var n crdt.NewContent
	var err error
	if whole {
		n, err = fs.home.Whole(newContent(c))
	} else {
		n, err = fs.home.Merging(newContent(c))
	}
	if err != nil {
		return crdt.Holding{}, err
	}
	return crdt.Holding{Body: crdt.NewBody(n.Text), Object: n.Object}, nil
}

// newContent is the content with its text in one string.
func newContent(c crdt.Holding) crdt.NewContent {
	return crdt.NewContent{Text: c.Body.String(), Object: c.Object}
}
