package document

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzOffice reads the XML of office documents. Text never comes out of nothing: apart from what
// stands for structure, there is no more of it than there was XML.
func FuzzOffice(f *testing.F) {
	for _, s := range []string{
		`<w:document><w:body><w:p><w:r><w:t>One</w:t><w:tab/></w:r></w:p></w:body></w:document>`,
		`<document-content><p>a<s/>b</p><table-row><table-cell><p>c</p></table-cell></table-row></document-content>`,
		`<sst><si><t>name</t></si><si><r><t>Anna</t></r></si></sst>`,
		`<worksheet><row><c t="s"><v>0</v></c><c><v>1.5</v></c></row></worksheet>`,
		`<a></b>`, `</t></skip>`, `<del><delText>x`, `<c t="s"><v>-1</v></c>`, "<t>\xff</t>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		of := func() *xml.Decoder { return xml.NewDecoder(bytes.NewReader(b)) }
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		_ = prose(of(), w)
		shared, _ := sharedStrings(of())
		if n := len(strings.Join(shared, "")); n > 3*len(b) { // an invalid byte becomes three
			t.Fatalf("%d bytes of strings in %d", n, len(b))
		}
		_ = w.Flush()
		if out.Len() > 3*len(b) {
			t.Fatalf("%d bytes of text in %d", out.Len(), len(b))
		}
		out.Reset()
		_ = cells(of(), nil, w)
		_ = cells(of(), []string{"0", "1"}, w)
		_ = w.Flush()
		if s := clean(out.Bytes()); !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r") {
			t.Fatalf("not a text: %q", s)
		}
		// The same bytes as a zip.
		for _, kind := range []string{"docx", "pptx", "xlsx", "odt"} {
			_ = office(kind, bytes.NewReader(b), int64(len(b)), bufio.NewWriter(io.Discard))
		}
	})
}
