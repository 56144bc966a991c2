// Command sheaf shares a folder between devices and lets any program edit it.
package main

import (
	"os"

	"github.com/sheaf-fs/sheaf/cmd/internal/cli"
)

func main() {
	os.Exit(cli.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
