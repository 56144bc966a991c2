// Package confine shuts a process in that reads what strangers wrote, a model or a
// document: what it is made to do there reaches nothing else of the machine.
//
// It is one more wall behind the process itself, and as high as the kernel lets it be:
// where that has no Landlock or no seccomp, the rest is done. Without Landlock, and so before
// its version 8 in a program that was built without a C compiler, a process that is left some
// files can read all others, too.
package confine

import "github.com/sheaf-fs/sheaf/crdt/fault"

// To leaves to this process, on all its threads and for good, the reading of the files
// and directories at paths, and what it has open. It can open nothing else, write to no
// file, make no socket, start no program, and neither look into another process nor
// signal one. Paths that are not there are passed over.
func To(paths ...string) error {
	if fault.On("infer-unconfined") {
		return nil
	}
	return to(paths)
}

// Libraries are the places from which the dynamic linker takes what a library needs.
func Libraries() []string {
	return []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store", "/etc/ld.so.cache"}
}
