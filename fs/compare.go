package fs

import (
	"strings"
	"sync"

	"github.com/sheaf-fs/sheaf/crdt"
)

// A save of a long text changes little of it. Its bytes are compared with the text that they
// were most likely made from, and only what differs is taken up: nothing of the file's size is
// held in memory a second time.

// shortText is the size up to which a text is read at once.
const shortText = 64 << 10

var pieces = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// body reads the session's bytes as a text, which shares with another one what the two have in
// common at their ends; ok is false where they are no text.
func (s *session) body(like *crdt.Body) (b *crdt.Body, ok bool, err error) {
	if s.text != nil {
		return s.text, true, nil
	}
	if s.Into > 0 {
		if b, ok = s.putInto(); ok {
			if like != s.under {
				b = b.Share(like)
			}
			s.text = b
		}
		return b, ok, nil
	}
	if s.packed != nil {
		if b, ok = like.Resave(s.packed.packedText(s.ID)); ok {
			s.text = b
		}
		return b, ok, nil
	}
	from, e, size := like, crdt.Ends{}, int(s.size)
	if size > shortText {
		if t, known := s.track.ends(s.size); known && (s.track.like == like || t.Start+t.End >= size/2) {
			from, e = s.track.like, t
		} else if like.Len() > 0 {
			if e, err = s.ends(like); err != nil {
				return nil, false, err
			}
		}
	}
	middle, err := s.part(e.Start, size-e.Start-e.End)
	if err != nil {
		return nil, false, err
	}
	if len(middle) < size-e.Start-e.End { // somebody cut the file in the home
		e.End = 0
	}
	if e == (crdt.Ends{}) {
		b, ok = from.Resave(middle)
	} else {
		b, ok = from.Replace(e, middle)
	}
	if ok {
		if from != like {
			b = b.Share(like)
		}
		s.text = b
	}
	return b, ok, nil
}

// part reads n of the session's bytes from an offset on, fewer where there are not so many.
func (s *session) part(off, n int) (string, error) {
	var b strings.Builder // a string is made of it without another copy
	b.Grow(n)
	buf := *pieces.Get().(*[]byte)
	defer pieces.Put(&buf)
	for b.Len() < n {
		m, err := s.readAt(buf[:min(len(buf), n-b.Len())], int64(off+b.Len()))
		if err != nil {
			return "", err
		}
		if m == 0 {
			break
		}
		b.Write(buf[:m])
	}
	return b.String(), nil
}

// ends compares the session's bytes with a text.
func (s *session) ends(like *crdt.Body) (e crdt.Ends, err error) {
	buf := *pieces.Get().(*[]byte)
	defer pieces.Put(&buf)
	size := int(s.size)
	most := min(size, like.Len())
	for e.Start < most {
		part := buf[:min(len(buf), most-e.Start)]
		n, err := s.readAt(part, int64(e.Start))
		if err != nil {
			return e, err
		}
		same := like.EqualAt(part[:n], e.Start)
		if e.Start += same; same < len(part) {
			break
		}
	}
	for most -= e.Start; e.End < most; {
		part := buf[:min(len(buf), most-e.End)]
		n, err := s.readAt(part, int64(size-e.End-len(part)))
		if err != nil {
			return e, err
		}
		if n < len(part) {
			break
		}
		same := like.EqualBefore(part, like.Len()-e.End)
		if e.End += same; same < len(part) {
			break
		}
	}
	return e, nil
}
