// Package automerge asks the Automerge library what is in a document.
//
// The library is C, and documents come from other people: so it is in a program of its own,
// sheaf-automerge, which stands beside sheaf, and this package talks to it over pipes. That
// process has little memory and no environment, can open nothing, answers one document after the other,
// and is ended when one takes too long. Whatever happens in it, this one gets an error.
//
// A build without a C compiler makes a sheaf-automerge that says so, and everything else works.
package automerge
