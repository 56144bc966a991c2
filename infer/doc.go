// Package infer answers the questions that people write into `.ask` files, in
// the file, with a model on this machine.
//
// A [Service] watches folders. A question that a program of this device saved,
// whole and unchanged for a second, is answered in place, streaming, by an
// author of its own in the folder's history: its events build on its own last
// event only, so the text's merge follows the place through whatever people
// type above, inside and below. What a person deletes stays deleted, and who
// deletes the answer ends it. Nothing else asks: not what arrives, is imported,
// restored or renamed, and never the answer itself ([conversation.Asked]).
//
// Where two devices answered one question while apart, the answer that was
// begun first stays once it is whole, and the other device takes back its own
// (one.go). An answer that could not be ended stays, marked, and Ask goes on
// with it.
//
// What a model reads is data. Files are found and framed by sources and
// prompt.go; nothing in them, and nothing that the model says, is a heading, a
// setting, a reference or an instruction to this package.
//
// Engines come from the caller ([Models]). The package knows crdt, not the
// mount, and no method waits for a model unless its name says so.
package infer
