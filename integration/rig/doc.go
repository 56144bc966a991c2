// Package rig runs whole sheaf devices for the suites in integration: the shipped
// binary, real mounts, real editors on a terminal, real network namespaces.
//
// [Main] runs a test program in namespaces of its own (mounts, processes, network),
// so that a suite cannot leave a mount or a process behind however it ends. A
// [Device] is one home with one mount point; [NewNet] joins devices by a network
// that can be cut. Waiting is always for a condition with a deadline ([Until]).
//
// The rig knows sheaf only from outside: its command line, its status as JSON, its
// mounts, its home as files. Nothing here is compiled into the daemon.
package rig
