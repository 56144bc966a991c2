package crdt

import (
	"strings"
	"time"
)

// Line is one line of a text and who wrote it: whoever changed it last.
type Line struct {
	Event      EventID   `json:"version"`
	Device     Device    `json:"device"`
	DeviceName string    `json:"deviceName"`
	Author     string    `json:"author,omitempty"` // as in Revision
	Time       time.Time `json:"time"`
	Text       string    `json:"text"` // without its newline
}

// Annotate tells who wrote each line of a file's text. It fails with ErrInvalid for an object.
func (f *Folder) Annotate(node NodeID) ([]Line, error) {
	c, spans, err := f.Blame(node)
	if err != nil {
		return nil, err
	}
	if c.Object != nil {
		return nil, &Error{Op: "blame", Path: f.Path(node), Kind: ErrInvalid, Hint: "it is not a text; sheaf log shows who changed it"}
	}
	name := f.deviceNames()
	f.mu.RLock()
	defer f.mu.RUnlock()
	var out []Line
	var last Span // of the line, the newest
	begin, at := 0, 0
	end := func(to int) {
		l := Line{Event: last.Event, Device: last.Device, DeviceName: name(last.Device), Author: last.Author, Text: c.Text[begin:to]}
		if e, ok := f.tree.Event(node, last.Event); ok {
			l.Time = time.UnixMilli(e.Time)
		}
		out = append(out, l)
		last = Span{}
	}
	for _, s := range spans {
		for rest := c.Text[at : at+s.Bytes]; rest != ""; {
			if last.Event.IsZero() || s.Time > last.Time {
				last = s
			}
			i := strings.IndexByte(rest, '\n')
			if i < 0 {
				at += len(rest)
				break
			}
			end(at + i)
			at += i + 1
			begin, rest = at, rest[i+1:]
		}
	}
	if begin < len(c.Text) {
		end(len(c.Text))
	}
	return out, nil
}
