// Package daemon is the process behind a home: it opens the home, mounts its folders,
// runs the peer node and the guardian, and does what the sheaf command asks over the
// home's socket (package control).
//
// It promises that a place that will not do, or a ticket that is refused, changes
// nothing on disk; that mounts are remembered and come back, after a crash too; that
// files which a mount point gathered while nothing was mounted are kept beside it and
// named; and that every error leaves with a kind and, where there is one, a hint. It
// holds no data of its own: folders are crdt's, and what is remembered is a local
// setting of the home.
//
// Locks: ops is held for the whole of an operation that mounts, unmounts or makes a
// folder; mu guards the maps and is never held while anything else is called.
package daemon
