package document

import (
	"bufio"
	"context"
	"io"

	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// pdfPages is how much memory PDFium has, in pages of 64 KiB.
const pdfPages = 512 << 20 / (64 << 10)

// pdf writes the text of a PDF file, page by page.
func pdf(in io.ReadSeeker, w *bufio.Writer) error {
	// Interpreted, because compiling PDFium takes longer than most documents do.
	config := wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(pdfPages).
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling)
	pool, err := webassembly.Init(webassembly.Config{
		Context: context.Background(), MaxTotal: 1, Stdout: io.Discard, Stderr: io.Discard,
		FSConfig: wazero.NewFSConfig(), RuntimeConfig: config,
	})
	if err != nil {
		return err
	}
	defer pool.Close()
	p, err := pool.GetInstance(MaxTime)
	if err != nil {
		return err
	}
	defer p.Close()
	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	doc, err := p.OpenDocument(&requests.OpenDocument{FileReader: in, FileReaderSize: size})
	if err != nil {
		return err
	}
	count, err := p.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: doc.Document})
	if err != nil {
		return err
	}
	for i := range count.PageCount {
		text, err := p.GetPageText(&requests.GetPageText{Page: page(doc.Document, i)})
		if err != nil {
			continue // the other pages may be whole
		}
		if _, err := w.WriteString(text.Text + "\n\n"); err != nil {
			return err
		}
	}
	return nil
}

func page(doc references.FPDF_DOCUMENT, i int) requests.Page {
	return requests.Page{ByIndex: &requests.PageByIndex{Document: doc, Index: i}}
}
