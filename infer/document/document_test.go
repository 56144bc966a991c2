package document

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary is the child process too.
func TestMain(m *testing.M) {
	switch os.Getenv("DOCUMENT_CHILD") {
	case "":
		os.Exit(m.Run())
	case "hang":
		time.Sleep(time.Hour)
	}
	if err := Run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func reader(env string) Reader {
	return Reader{Command: func(kind string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], kind)
		cmd.Env = []string{"DOCUMENT_CHILD=" + env}
		return cmd
	}, maxTime: 10 * time.Minute} // however slow the machine is
}

func file(t testing.TB, name string, b []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// pdfOf makes a PDF file with one line a page.
func pdfOf(pages ...string) []byte {
	var b bytes.Buffer
	var at []int
	obj := func(format string, a ...any) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), fmt.Sprintf(format, a...))
	}
	b.WriteString("%PDF-1.4\n")
	var kids []string
	for i := range pages {
		kids = append(kids, fmt.Sprintf("%d 0 R", 4+2*i))
	}
	obj("<< /Type /Catalog /Pages 2 0 R >>")
	obj("<< /Type /Pages /Kids [%s] /Count %d >>", strings.Join(kids, " "), len(pages))
	obj("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
	for i, p := range pages {
		obj("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources << /Font << /F1 3 0 R >> >> >>", 5+2*i)
		s := "BT /F1 12 Tf 72 720 Td (" + p + ") Tj ET"
		obj("<< /Length %d >>\nstream\n%s\nendstream", len(s), s)
	}
	x := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, o := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, x)
	return b.Bytes()
}

func zipOf(t testing.TB, parts map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range parts {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestText(t *testing.T) {
	const w = `xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"`
	const a = `xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"`
	const odf = `xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"`
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"a.pdf": {pdfOf("First page", "Second page"), "First page\n\nSecond page\n"},
		"a.docx": {zipOf(t, map[string]string{"word/document.xml": `<w:document ` + w + `><w:body><w:p><w:pPr><w:tabs><w:tab w:val="left" w:pos="1"/></w:tabs></w:pPr><w:r><w:t>One</w:t><w:tab/><w:t xml:space="preserve"> two</w:t></w:r></w:p>
			<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc></w:tr></w:tbl><w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:instrText>PAGE</w:instrText></w:r></w:p></w:body></w:document>`}),
			"One\t two\na \tb \t\n"},
		"a.pptx": {zipOf(t, map[string]string{
			"ppt/slides/slide10.xml": `<p:sld xmlns:p="p" ` + a + `><a:p><a:r><a:t>later</a:t></a:r></a:p></p:sld>`,
			"ppt/slides/slide2.xml":  `<p:sld xmlns:p="p" ` + a + `><a:p><a:r><a:t>sooner</a:t></a:r></a:p></p:sld>`}),
			"Slide 2\nsooner\n\nSlide 10\nlater\n"},
		"a.xlsx": {zipOf(t, map[string]string{
			"xl/sharedStrings.xml":     `<sst><si><t>name</t></si><si><r><t>Anna</t></r><r><t> K</t></r></si></sst>`,
			"xl/worksheets/sheet1.xml": `<worksheet><sheetData><row><c t="s"><v>0</v></c><c><v>1.5</v></c></row><row><c t="s"><v>1</v></c><c t="inlineStr"><is><t>x</t></is></c><c t="s"><v>99</v></c></row></sheetData></worksheet>`}),
			"Sheet 1\nname\t1.5\nAnna K\tx\t\n"},
		"A.ODT": {zipOf(t, map[string]string{"content.xml": `<office:document-content ` + odf + `><text:h>Title</text:h><text:p>Some <text:span>bold</text:span><text:tab/>text<text:s/>.</text:p></office:document-content>`}),
			"Title\nSome bold\ttext .\n"},
		"a.ods": {zipOf(t, map[string]string{"content.xml": `<office:document-content ` + odf + `><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>b</text:p></table:table-cell></table:table-row></office:document-content>`}),
			"a \tb \t\n"},
	} {
		text, ok, err := reader("run").Text(t.Context(), name, file(t, name, c.file))
		want := strings.TrimSpace(c.want) + "\n"
		if err != nil || !ok || text != want {
			t.Errorf("%s: %q, %v, %v, want %q", name, text, ok, err, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"a.pdf": []byte("%PDF-1.7\nnothing"), "b.docx": zipOf(t, map[string]string{"x": "y"}), "c.odt": []byte("PK\x03\x04broken"),
		"d.docx": zipOf(t, map[string]string{"word/document.xml": "<w><"}), "e.xlsx": zipOf(t, map[string]string{"xl/sharedStrings.xml": "<sst/>"}),
		"f.pdf": pdfOf(""),
	} {
		text, ok, err := reader("run").Text(t.Context(), name, file(t, name, b))
		if !ok || err == nil || text != "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, %v, %v", name, text, ok, err)
		}
	}
	for name, b := range map[string][]byte{
		"a.png": []byte("\x89PNG\r\n"), "a.pdf": []byte("PK\x03\x04x"), "a.docx": []byte("%PDF-"), "a.doc": []byte("\xd0\xcf\x11\xe0x"), "a": pdfOf("x"), "b.pdf": []byte("x"), "a.zip": []byte("PK\x03\x04x"),
	} {
		if _, ok, err := reader("run").Text(t.Context(), name, file(t, name, b)); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

// A document that unpacks to far more than it is has its first text read.
func TestLarge(t *testing.T) {
	b := zipOf(t, map[string]string{"content.xml": `<document-content><p>` + strings.Repeat("é", 4<<20) + `</p></document-content>`})
	text, ok, err := reader("run").Text(t.Context(), "bomb.odt", file(t, "bomb.odt", b))
	if err != nil || !ok || len(text) > MaxText+1 || len(text) < MaxText/2 {
		t.Errorf("%d bytes, %v, %v", len(text), ok, err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, _, err := reader("hang").Text(ctx, "a.pdf", file(t, "a.pdf", pdfOf("x")))
	if err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
