// Package automerge writes texts as ordinary Automerge documents: the text at key "content", with its history.
//
// It writes the file format itself, one chunk for each change, so that exporting needs neither the library nor its memory
// (hundreds of bytes a character); tests hold the bytes against the library's. It never reads Automerge documents.
package automerge
