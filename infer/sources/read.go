package sources

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
)

// file reads one file.
func (g *gathering) file(p string, info crdt.Info, r Ref, named bool) {
	if info.Node == g.Self {
		return
	}
	key := fmt.Sprintf("%s\x00%d-%d", p, r.From, r.To)
	if g.seen[key] {
		return
	}
	g.seen[key] = true
	if len(g.out) >= MaxFiles {
		g.full++
		return
	}
	c, err := g.Folder.Folder.ContentAt(info.Node, info.Version)
	if err != nil {
		g.leave(p, "cannot be read")
		return
	}
	text, whole := c.Text, true
	if c.Object != nil {
		var why string
		if text, whole, why = g.object(p, *c.Object); why != "" {
			g.leave(p, why)
			return
		}
	}
	s := Source{Path: p, Version: c.Version, Text: text, Lines: countLines(text), Named: named}
	if r.From > 0 {
		if r.From > s.Lines {
			why := fmt.Sprintf("it has %d lines", s.Lines)
			if !whole {
				why = fmt.Sprintf("only its first %d lines are read", s.Lines)
			}
			g.leave(Source{Path: p, From: r.From, To: r.To}.Name(), why)
			return
		}
		s.From, s.To = r.From, min(r.To, s.Lines)
		s.Text = cut(text, s.From, s.To)
	}
	if len(s.Text) > MaxBytes {
		s = s.Head(strings.Count(s.Text[:MaxBytes], "\n"))
		if s.Text == "" {
			g.leave(p, "its lines are too long")
			return
		}
	} else if !whole && s.From == 0 {
		s = s.Head(s.Lines)
	}
	g.out = append(g.out, s)
}

func countLines(text string) int {
	n := strings.Count(text, "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		n++
	}
	return n
}

// Head is the source with its first n lines only.
func (s Source) Head(n int) Source {
	first := max(s.From, 1)
	s.Text = cut(s.Text, 1, n)
	s.From, s.To = first, first+n-1
	return s
}

// cut returns lines from and to, both included, counted from 1.
func cut(text string, from, to int) string {
	at, start := 0, 0
	for n := 1; n <= to && at < len(text); n++ {
		if n == from {
			start = at
		}
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			at = len(text)
			break
		}
		at += i + 1
	}
	if to < from {
		return ""
	}
	return text[start:at]
}

// object reads the text of content that is kept whole, or the first of it, or
// says why not.
func (g *gathering) object(p string, o crdt.Object) (text string, whole bool, why string) {
	f, err := g.Folder.Folder.Home().Objects().Open(blob.Hash(o.Hash))
	switch {
	case errors.Is(err, blob.ErrNotHere):
		return "", false, "not on this device yet"
	case err != nil:
		return "", false, "cannot be read"
	}
	defer f.Close()
	if g.Documents != nil && o.Size <= MaxObject {
		text, ok, err := g.Documents.Text(g.ctx, path.Base(p), f)
		switch {
		case err != nil:
			return "", false, err.Error()
		case ok:
			return text, true, ""
		}
	}
	head := make([]byte, min(o.Size, MaxBytes))
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", false, "cannot be read"
	}
	head = head[:n]
	if int64(n) < o.Size {
		head = head[:strings.LastIndexByte(string(head), '\n')+1]
	}
	if len(head) == 0 || !crdt.IsText(head) {
		return "", false, "not text"
	}
	return string(head), int64(n) == o.Size, ""
}
