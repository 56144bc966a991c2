//go:build !cgo

package main

import "github.com/sheaf-fs/sheaf/cmd/internal/automerge"

// read is nil: there is no library in this build.
var read func(automerge.Query) automerge.Answer
