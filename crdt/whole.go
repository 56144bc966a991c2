package crdt

import (
	"bytes"
	"io"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/text"
)

// A file may be kept whole though it is plain text: its content is then an object. Who gives a
// file content decides that; who only applies it sees an object like any other.

// Whole returns the content as an object in the home's store. It fails with ErrNoSpace where
// the disk is full. An empty text stays one: there is nothing in it to mix.
func (h *Home) Whole(c NewContent) (NewContent, error) {
	if c.Object != nil || c.Text == "" {
		return c, nil
	}
	if err := h.Room(); err != nil {
		return NewContent{}, err
	}
	hash, size, err := h.objects.Put(strings.NewReader(c.Text))
	if err != nil {
		return NewContent{}, storage("write", h.dir, err)
	}
	return NewContent{Object: &Object{Hash: Hash(hash), Size: size}}, nil
}

// Merging returns the content as a text, to be merged with what others write, where it is one.
func (h *Home) Merging(c NewContent) (NewContent, error) {
	if c.Object == nil {
		return c, nil
	}
	s, ok, err := h.TextOf(*c.Object)
	if err != nil || !ok {
		return c, err
	}
	return NewContent{Text: s}, nil
}

// TextOf returns what an object holds, for people to read; ok is false where it is no text, as
// IsText says. It fails with ErrNotHere where the object is not on this device.
func (h *Home) TextOf(o Object) (s string, ok bool, err error) {
	if o.Size > MaxText {
		return "", false, nil
	}
	f, err := h.objects.Open(blob.Hash(o.Hash))
	if err != nil {
		return "", false, storage("read", o.Hash.String(), err)
	}
	defer f.Close()
	// Whoever made the version says the size. One that is not the object's must not keep others
	// from writing to the file.
	if st, err := f.Stat(); err != nil {
		return "", false, storage("read", o.Hash.String(), err)
	} else if st.Size() != o.Size {
		return "", false, nil
	}
	// What is no text mostly shows it in its first bytes.
	b := make([]byte, o.Size)
	head := min(len(b), 4096)
	if _, err = io.ReadFull(f, b[:head]); err == nil && bytes.IndexByte(b[:head], 0) < 0 {
		_, err = io.ReadFull(f, b[head:])
	}
	if err != nil {
		return "", false, storage("read", o.Hash.String(), err)
	}
	if !text.IsText(b) {
		return "", false, nil
	}
	return string(b), true, nil
}

// Readable returns the content with its text, also where it is kept whole: for those who show
// a file to people. What is no text is returned as it is.
func (h *Home) Readable(c Content) (Content, error) {
	if c.Object == nil {
		return c, nil
	}
	s, ok, err := h.TextOf(*c.Object)
	if err != nil || !ok {
		return c, err
	}
	return Content{Version: c.Version, Text: s}, nil
}
