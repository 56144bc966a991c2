package daemon

import (
	"path/filepath"

	"github.com/sheaf-fs/sheaf/fs/mountinfo"
)

// moved is where the mount of a daemon that crashed is now: a directory above it may have been
// renamed without anybody asking the daemon from then on. Where that is not known for sure it is
// the point on record.
func (r mountRecord) moved() string {
	if !r.Up || r.Device == "" || r.Boot == "" || r.Boot != mountinfo.BootID() {
		return r.Point
	}
	point, ok := mountinfo.PointOf(r.Device)
	// A mount point itself cannot be renamed. A number that was given to another mount since is
	// most often one of another kind, or of a daemon that lives.
	if !ok || filepath.Base(point) != filepath.Base(r.Point) {
		return r.Point
	}
	if fstype, _ := mountinfo.At(point); fstype != "fuse.sheaf" || !mountinfo.Dead(point) {
		return r.Point
	}
	return point
}
