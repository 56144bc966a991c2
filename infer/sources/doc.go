// Package sources finds what a question refers to: `@file`, `@dir/`, `@glob`
// and `@file:10-40` stand for files of the folder.
//
// Only the folder itself is looked into: names are resolved in the replicated
// tree, where nothing outside it can be named. Symlinks are never followed, and
// what a device keeps to itself (anything in a `.git`) is refused by name even
// where a peer has put such a name into the tree. What a file says is returned
// as it is and never looked at: an @ in it refers to nothing.
//
// Everything that was named and not found, or not read, is returned with its
// reason, for the person to see.
package sources
