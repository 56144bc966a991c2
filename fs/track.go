package fs

import (
	"strings"

	"github.com/sheaf-fs/sheaf/crdt"
)

// track compares what is written to a session with the text that it began with, or is likely to
// replace (guess.go), while it is written: then its ends are known at the close. It knows of less
// in common than there may be, never of more. A nil track knows nothing.
type track struct {
	like    *crdt.Body
	inPlace bool // the bytes began as the text, and all but those between lo and hi still are
	lo, hi  int64

	// Otherwise they began empty, and are written from the first to the last.
	next   int64 // where the next bytes belong
	start  int64 // so many at the start are as in the text
	differ bool  // start is final
	run    int64 // from here on they are as in the text, shift further on; none if it is next
	shift  int64
	missed int // so many searches found nothing
}

const (
	anchor    = 64       // bytes by which a place in the text is recognised
	reach     = 64 << 10 // how far from where it is expected
	mostMiss  = 64       // searches in vain before the rest counts as different
	widePatch = 1 << 20  // bytes between changes in place that are rather compared
)

// tracked begins a track if it is worth one.
func tracked(like *crdt.Body, inPlace bool) *track {
	if like.Len() <= shortText {
		return nil
	}
	return &track{like: like, inPlace: inPlace, lo: int64(like.Len())}
}

// wrote takes up what was written. It reports false where it lost the track.
func (t *track) wrote(data []byte, off int64) bool {
	if t.inPlace {
		t.lo, t.hi = min(t.lo, off), max(t.hi, off+int64(len(data)))
		return true
	}
	if off != t.next {
		return false
	}
	t.next += int64(len(data))
	if !t.differ {
		n := t.equal(data, off)
		t.start += int64(n)
		if n == len(data) {
			return true
		}
		data, off, t.differ, t.run = data[n:], off+int64(n), true, t.next
	} else if t.run < off {
		n := t.equal(data, off+t.shift)
		if n == len(data) {
			return true
		}
		data, off = data[n:], off+int64(n)
	}
	t.run = t.next
	t.find(data, off)
	return true
}

func (t *track) equal(data []byte, at int64) int {
	if at < 0 || at > int64(t.like.Len()) {
		return 0
	}
	return t.like.EqualAt(data, int(at))
}

// find looks for the place in the text where the last of the data come from.
func (t *track) find(data []byte, off int64) {
	if len(data) < anchor || t.missed >= mostMiss {
		return
	}
	at := off + int64(len(data)-anchor)
	from := min(max(0, at-reach), int64(t.like.Len()))
	to := min(at+anchor+reach, int64(t.like.Len()))
	if from >= to {
		return
	}
	i := strings.Index(t.like.Slice(int(from), int(to)), string(data[len(data)-anchor:]))
	if i < 0 {
		t.missed++
		return
	}
	t.shift = from + int64(i) - at
	t.run = t.next - int64(t.like.EqualBefore(data, int(t.next+t.shift)))
}

// ends is what a session's bytes, of that size, have in common with the text; ok is false where
// that is not known.
func (t *track) ends(size int64) (e crdt.Ends, ok bool) {
	if t == nil {
		return e, false
	}
	n := int64(t.like.Len())
	switch {
	case t.inPlace && t.lo > t.hi:
		return crdt.Ends{Start: int(n)}, size == n
	case t.inPlace:
		if t.hi-t.lo > widePatch || size < n {
			return e, false
		}
		e.Start = int(min(t.lo, n))
		if size == n {
			e.End = int(n - t.hi)
		}
		return e, true
	case t.next != size:
		return e, false
	case !t.differ, t.start == n:
		return crdt.Ends{Start: int(t.start)}, true
	case t.run == size || t.run+t.shift < 0 || size+t.shift != n:
		return e, false
	}
	return crdt.Ends{Start: int(t.start), End: int(min(size-t.run, n-t.start))}, true
}
