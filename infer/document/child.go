package document

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/infer/confine"
)

// Limits of the child process.
const (
	maxMemory = 2 << 30 // bytes of address space
	maxCPU    = MaxTime
)

// Run is the child process: it reads one document from a file and writes its
// text to out.
func Run(kind string, in *os.File, out io.Writer) error {
	if limitAddresses {
		limit(unix.RLIMIT_AS, maxMemory)
	}
	limit(unix.RLIMIT_CPU, uint64(maxCPU/time.Second))
	limit(unix.RLIMIT_FSIZE, 0)
	limit(unix.RLIMIT_CORE, 0)
	if err := confine.To(); err != nil { // in and out are open
		return err
	}
	w := bufio.NewWriterSize(out, 64<<10)
	if err := extract(kind, in, w); err != nil {
		return err
	}
	return w.Flush()
}

func limit(what int, n uint64) { unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n}) }

func extract(kind string, in *os.File, w *bufio.Writer) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	switch kind {
	case "pdf":
		return pdf(in, w)
	case "docx", "xlsx", "pptx", "odt", "ods", "odp":
		return office(kind, in, info.Size(), w)
	}
	return fmt.Errorf("kind %q: %w", kind, errors.ErrUnsupported)
}
