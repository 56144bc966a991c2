// Package crdt is the one door to a sheaf's data: a Home is one device's state
// directory, a Folder one shared tree in it.
//
// Every change, local or remote, takes the same road: operations in an entry of
// a feed, applied to the state in the same batch that stores them, then one
// Notice to subscribers. The state of a folder is a function of the set of its
// entries: any order of arrival, any batching and any restart give the same
// folder.
//
// What it promises: when Update returns, the change survives the death of the
// process; when Sync returns, it survives the loss of power. Nothing a person
// typed is dropped: it is in the text, in the history, or named by Status.
//
// What it never does: wait for the network, know of FUSE, QUIC or a model, or
// drop an accepted entry. All methods are safe for concurrent use unless they
// say otherwise.
//
// Below it stand crdt/feed (signed entries), crdt/tree (names and graphs of
// versions), crdt/text (merged texts), crdt/blob (objects) and the database.
package crdt
