// Package text merges the saves of plain-text files.
//
// A text is the set of its events. An [Event] is one save: hunks made against the text of its parents, the version the
// writer had read. The text of a version is, by definition, the text of the Automerge document in which every hunk is one
// change (actor = hash of text, parents and hunk; dependencies = all changes of the parents), so it depends on the set of
// events only, never on the order in which they came. This package computes it without building that document:
//
//   - An event made on the current heads, which is nearly every event, is spliced into plain text (rope.go).
//   - Any other is replayed with the events after the latest critical version (one that every event is at, before or after)
//     in a run-length sequence that follows Automerge's order (sequence.go). It holds no characters; untouched text is one
//     span whatever its length.
//
// Where events that do not know of each other meet and show the same in one place, it stands once (echo.go): that is one
// more change of the document, made by the meeting.
//
// Promises: what an event inserted is in the text, or its equal in its place, until an event that saw it deletes it; every
// order of arrival gives the same text; an event that does not fit its parents changes nothing, on every device alike;
// input from elsewhere never makes the package panic, and costs time and memory bounded by its size and the history's.
//
// It never reads files, clocks or the network, and knows nothing of names or devices. Positions are Unicode code points.
package text
