// Package guardian keeps a second process beside the daemon, for the two things
// that the daemon cannot do for its own mounts.
//
// Watchers. The kernel tells inotify only of system calls made on a file, not of
// what a FUSE server announces. When a change arrives from another device the
// guardian therefore makes the system call that a local program would have made
// (utimensat, open for writing and close, mknod, unlink, rename) through the
// mount; the handler recognises the calling thread ([Mount.Is]) and answers
// without changing anything. The daemon cannot do this itself: a thread that
// waits for a handler of its own process cannot be killed.
//
// Rescue. A daemon that somebody stopped (SIGSTOP) is continued. When it dies, or does not
// answer and does nothing either (or not for very long), the guardian starts it again,
// waiting a little longer after each of several deaths in a row, and detaches its
// mounts if it does not come up, so that no dead mount point stays.
//
// [Start], [Guardian] and [Mount] are the daemon's half; [Run] is the child's.
// Pokes are a courtesy: they are queued, bounded, merged ([Mount.Poke]), and
// one that fails is reported and forgotten. The guardian never writes to a file,
// never holds /dev/fuse, never follows a symbolic link, and leaves no process
// behind after [Guardian.Close].
package guardian
