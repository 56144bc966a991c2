package crdt

import (
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// headPrefix begins the attributes by which devices tell each other where their own
// repositories are: one a device, on the directory that holds the repository. They are nothing
// that a person did, so they are no action and are not undone.
const headPrefix = "sheaf.head."

const maxHead = 240 // bytes that are shown

// SetHead tells the others where this device's repository in a directory is, such as
// "main 1a2b3c4".
func (tx *Tx) SetHead(dir NodeID, head string) error {
	key := headPrefix + tx.f.home.device.String()
	if string(tx.f.tree.Xattrs(dir)[key]) == head {
		return nil
	}
	return tx.SetXattr(dir, key, []byte(head))
}

func isHead(o *tree.Op) bool { return o.Do == tree.OpXattr && strings.HasPrefix(o.Key, headPrefix) }

// heads lists what the devices told of a directory. It runs with mu held.
func (f *Folder) heads(path string, dir NodeID) []Head {
	var out []Head
	all := f.tree.Xattrs(dir)
	for d := range f.members {
		if v, ok := all[headPrefix+d.String()]; ok {
			out = append(out, Head{Path: path, Device: d, Name: f.deviceName(d), Head: labelOf(clip(string(v), maxHead))})
		}
	}
	slices.SortFunc(out, func(a, b Head) int { return strings.Compare(a.Name+a.Device.String(), b.Name+b.Device.String()) })
	return out
}
