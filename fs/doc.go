// Package fs shows a folder through FUSE, so that any program is a
// collaborative one.
//
// A file has one view, shared by all its handles: what a program writes is seen
// by every program of this device at once. What is delayed is publication (see
// publish.go) and the showing of text that came from elsewhere (invalidate.go).
// Bytes being written belong to a session: a file in the home, or a part of the
// journal where they are few (pack.go, inplace.go), and a record in
// the journal, made before the reply that lets the writer go on, so that
// killing the process loses nothing that a call had returned for. A save is
// merged from the version that its writer had read (bases.go), not from the one
// that happens to be current.
//
// The namespace is answered from memory with infinite timeouts; what changes
// elsewhere is announced to the kernel from one queue, never from a handler (but
// for one case, staleDir) and never under a lock that a handler takes. Directories are
// not opened, and the kernel keeps their listings until told (listing.go).
//
// Locks are taken in this order: filesystem.mu (names and numbers), inode.mu
// (one file's bytes), then the locks of the journal, the read table and the
// folder, under which nothing of this package is called.
//
// Names that stay on this device are real files in the home, under the node of
// their directory (local.go). Which they are is decided when a name is made
// (localrules.go); renames may cross the boundary (localmove.go, localout.go), and a
// directory that others removed goes on with them (remains.go).
//
// What the package never does: wait for the network, publish a truncation
// without what follows it, or share anything at or under a directory named .git.
package fs
