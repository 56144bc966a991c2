// Package plain keeps an ordinary directory in step with a folder, for machines
// without FUSE.
//
// What the directory held when both were last in step is on record: for every
// name its node, version and file status. What differs from that on the disk is
// a change made here, found by what fsnotify tells, and by a look at everything
// at the start and after an overflow; what differs from it in the folder came
// from elsewhere. Changes made here go first, so that nothing on the disk is
// replaced that the folder does not hold.
//
// The base of a save is the version that was on the disk, or an older one where
// nobody has read the newer: a file put there from elsewhere gets an access
// time before its modification time, which the first reader moves. So the
// ordinary stale save (an editor that had the file open all the while) merges
// here as it does on a mount.
//
// What the package promises: a file is replaced whole and in one step, never
// while a program has it open for writing, and what was written into it in the
// last moment is found and published. A directory that is not the one it was
// (an unmounted disk, say) is refused, not taken for an emptied folder.
//
// What it cannot do, and a mount can: hold a truncated file back from readers,
// answer editors that ask whether a file changed, share extended attributes, or
// tell who has a file open.
//
// What it never does: wait for the network, or follow a symbolic link.
package plain
