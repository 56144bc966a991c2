// Package tree is the replicated namespace of a folder and the graph of versions of each of
// its files, in memory.
//
// A [Tree] is a function of the set of operations it was given: any order of arrival and any
// batching ends in the same names, places, versions and attributes. What depends on the
// device is kept apart and named so: which objects are here ([Tree.SetReady]) and when an
// operation was applied ([Stamped.Applied]).
//
// How conflicts end:
//
//   - Where a file or symlink lives is the last operation's word. Directories move through a
//     log with undo and redo, after Kleppmann, Mulligan, Gomes and Beresford, "A
//     highly-available move operation for replicated trees" (2021): a move that would put a
//     directory below itself does nothing.
//   - A removal names the version its author saw. Content outside that version's past, or a
//     later placing, keeps the file; a removed directory lives while it has a living
//     descendant.
//   - A name belongs to the node that was placed under it last, be that node removed or not;
//     other living nodes of the name are shown with a suffix naming their device. The suffix
//     is only shown, never written back, and so does not move when a neighbour is deleted.
//   - Versions that cannot be merged stand side by side: the latest under the name, the others
//     under names with the device and the date.
//
// Ids of nodes are derived ([NodeIDFor]): the same directory, or the same file with the same
// first content, made on two devices is one node. A creation whose id does not follow from its
// fields does nothing, and neither does any other invalid operation; no input makes this
// package panic. Ids of events come from the caller, who must have checked that they commit to
// the node, the parents and the content. Operations on a node, a directory or a parent event
// that has not arrived wait until it does.
//
// The package never reads content, a clock or a disk, and logs nothing. A Tree is not safe for
// concurrent use, except that methods that only read may run at the same time as each other.
package tree
