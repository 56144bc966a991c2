// Package integration holds the suites that show sheaf's promises whole: the shipped
// binary, real mounts, real processes, editors used by keystrokes, devices on networks
// that are cut, killed daemons and lost disks.
//
// What a suite does at random comes from a seed (SHEAF_RIG_SEED). TestBreaks shows for
// each suite that it can fail: it runs the suite against a binary in which one thing
// is broken on purpose, and wants it red.
package integration
