package automerge

import (
	"errors"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/infer/confine"
)

// MaxMemory is how much address space the library's process has, in bytes. A document takes about
// 550 bytes a character of its history.
const MaxMemory = 3 << 30

// Serve is the library's process: it answers documents on in until that ends. read is nil in a
// build without the library.
func Serve(in io.Reader, out io.Writer, read func(Query) Answer) error {
	if err := send(out, hello{Able: read != nil}); err != nil || read == nil {
		return err
	}
	for {
		var q Query
		if err := receive(in, &q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a := read(q)
		if err := send(out, a); err != nil {
			return err
		}
		debug.FreeOSMemory() // and what the library holds for a document that nobody has any more
	}
}

// Confine takes from this process what a document has no business with: it can open no file and no
// socket, start no program, and has the given bytes of address space, if not 0.
func Confine(memory uint64) error {
	limit := func(what int, n uint64) { _ = unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n}) }
	if memory > 0 {
		limit(unix.RLIMIT_AS, memory)
	}
	limit(unix.RLIMIT_FSIZE, 0)
	limit(unix.RLIMIT_CORE, 0)
	limit(unix.RLIMIT_NOFILE, 16)
	_ = os.Chdir("/")
	return confine.To()
}
