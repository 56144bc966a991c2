// Package fault lets tests break a running sheaf at named places, to see that nothing is
// lost when it breaks there by itself.
//
// It exists only in binaries built with the tag sheaffault; in every other one On is a
// constant false, and the compiler removes what it guards. In a binary with the tag, the
// environment variable SHEAF_FAULT names the faults to inject, separated by commas:
//
//	SHEAF_FAULT=kv-sync-fails,peer-drops sheaf up
//
// A place asks for its fault by a constant name, in lower case, with its package first.
package fault
