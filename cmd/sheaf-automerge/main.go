// Command sheaf-automerge reads Automerge documents for sheaf, which starts it: documents on
// stdin, what is in them on stdout. It is a program of its own because the library is C, which
// sheaf has none of, and because a document may bring the library down.
package main

import (
	"fmt"
	"os"

	"github.com/sheaf-fs/sheaf/cmd/internal/automerge"
)

func main() {
	err := automerge.Confine(automerge.MaxMemory)
	if err == nil {
		err = automerge.Serve(os.Stdin, os.Stdout, read)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sheaf-automerge: %v\n", err)
		os.Exit(1)
	}
}
