package document

import (
	"archive/zip"
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxPart bounds what one part of a document unpacks to, in bytes.
const maxPart = 256 << 20

// office writes the text of a document of an office program: a zip of XML.
func office(kind string, in io.ReaderAt, size int64, w *bufio.Writer) error {
	z, err := zip.NewReader(in, size)
	if err != nil {
		return err
	}
	switch kind {
	case "docx":
		return part(z, "word/document.xml", func(d *xml.Decoder) error { return prose(d, w) })
	case "pptx":
		return numbered(z, `^ppt/slides/slide(\d+)\.xml$`, func(n int, d *xml.Decoder) error {
			fmt.Fprintf(w, "Slide %d\n", n)
			if err := prose(d, w); err != nil {
				return err
			}
			return w.WriteByte('\n')
		})
	case "xlsx":
		var shared []string
		err := part(z, "xl/sharedStrings.xml", func(d *xml.Decoder) (err error) {
			shared, err = sharedStrings(d)
			return err
		})
		if err != nil && !errors.Is(err, errNoPart) {
			return err
		}
		return numbered(z, `^xl/worksheets/sheet(\d+)\.xml$`, func(n int, d *xml.Decoder) error {
			fmt.Fprintf(w, "Sheet %d\n", n)
			if err := cells(d, shared, w); err != nil {
				return err
			}
			return w.WriteByte('\n')
		})
	}
	return part(z, "content.xml", func(d *xml.Decoder) error { return prose(d, w) })
}

var errNoPart = errors.New("a part is missing")

func part(z *zip.Reader, name string, fn func(*xml.Decoder) error) error {
	for _, f := range z.File {
		if f.Name == name {
			return open(f, fn)
		}
	}
	return fmt.Errorf("%s: %w", name, errNoPart)
}

func open(f *zip.File, fn func(*xml.Decoder) error) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return fn(xml.NewDecoder(io.LimitReader(r, maxPart)))
}

// numbered calls fn for the parts whose names match, in the order of their numbers.
func numbered(z *zip.Reader, pattern string, fn func(int, *xml.Decoder) error) error {
	re := regexp.MustCompile(pattern)
	parts := map[int]*zip.File{}
	var order []int
	for _, f := range z.File {
		m := re.FindStringSubmatch(f.Name)
		if m == nil {
			continue
		}
		if n, err := strconv.Atoi(m[1]); err == nil && parts[n] == nil {
			parts[n] = f
			order = append(order, n)
		}
	}
	if len(order) == 0 {
		return errNoPart
	}
	slices.Sort(order)
	for _, n := range order {
		if err := open(parts[n], func(d *xml.Decoder) error { return fn(n, d) }); err != nil {
			return err
		}
	}
	return nil
}

// tokens goes through d to its end; an error is the last.
func tokens(d *xml.Decoder) iter.Seq2[xml.Token, error] {
	return func(yield func(xml.Token, error) bool) {
		for {
			t, err := d.Token()
			if err == io.EOF || !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// prose writes what is text in a word processor's or a presentation's XML. The
// names are those of OOXML and of ODF, which mean the same where they are equal.
func prose(d *xml.Decoder, w *bufio.Writer) error {
	odf := false
	cell, text, skip := 0, 0, 0
	for t, err := range tokens(d) {
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "document-content":
				odf = true
			case "t":
				text++
			case "p", "h":
				if odf {
					text++
				}
			case "tc", "table-cell":
				cell++
			case "tab":
				if !inStyle(t) {
					w.WriteByte('\t')
				}
			case "s":
				if odf {
					w.WriteByte(' ')
				}
			case "br", "cr", "line-break":
				w.WriteByte('\n')
			case "instrText", "delText", "annotation", "tracked-changes":
				skip++
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "t":
				text--
			case "p", "h":
				if odf {
					text--
				}
				if skip == 0 {
					w.WriteByte(map[bool]byte{true: ' ', false: '\n'}[cell > 0])
				}
			case "tc", "table-cell":
				cell--
				w.WriteByte('\t')
			case "tr", "table-row":
				w.WriteByte('\n')
			case "instrText", "delText", "annotation", "tracked-changes":
				skip--
			}
		case xml.CharData:
			if text > 0 && skip == 0 {
				if _, err := w.Write(t); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// inStyle tells the definition of a tab stop from a tab.
func inStyle(t xml.StartElement) bool {
	return slices.ContainsFunc(t.Attr, func(a xml.Attr) bool { return a.Name.Local == "pos" || a.Name.Local == "val" })
}

// sharedStrings reads the strings that a workbook's cells share.
func sharedStrings(d *xml.Decoder) (out []string, err error) {
	var b strings.Builder
	text := false
	for t, err := range tokens(d) {
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			text = t.Name.Local == "t"
		case xml.EndElement:
			text = false
			if t.Name.Local == "si" {
				out = append(out, b.String())
				b.Reset()
			}
		case xml.CharData:
			if text {
				b.Write(t)
			}
		}
	}
	return out, nil
}

// cells writes a sheet, one row a line.
func cells(d *xml.Decoder, shared []string, w *bufio.Writer) error {
	kind, value, first := "", false, true
	for t, err := range tokens(d) {
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "row":
				first = true
			case "c":
				if !first {
					w.WriteByte('\t')
				}
				kind, first = "", false
				for _, a := range t.Attr {
					if a.Name.Local == "t" {
						kind = a.Value
					}
				}
			case "v", "t":
				value = true
			}
		case xml.EndElement:
			value = false
			if t.Name.Local == "row" {
				w.WriteByte('\n')
			}
		case xml.CharData:
			if !value {
				continue
			}
			s := string(t)
			if kind == "s" {
				n, err := strconv.Atoi(strings.TrimSpace(s))
				if err != nil || n < 0 || n >= len(shared) {
					continue
				}
				s = shared[n]
			}
			if _, err := w.WriteString(s); err != nil {
				return err
			}
		}
	}
	return nil
}
