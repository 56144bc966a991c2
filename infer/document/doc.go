// Package document reads the text of PDF files and of the documents of office
// programs (docx, xlsx, pptx, odt, ods, odp).
//
// Documents come from other people, so nothing of one is parsed in the caller's
// process: a child process does it, with little time and memory, no environment
// and no way to be asked for anything else. PDF goes through PDFium, compiled to
// WebAssembly and interpreted there; it sees no file but the one it is given.
//
// What comes back is text, or the reason why not. Other kinds are not known, and
// nothing is guessed.
package document
