//go:build !linux

package llama

import "os"

func takeOutput(out *os.File) (*os.File, error) { return out, nil }

func lowerPriority(int) {}
