//go:build !linux

package server

// trusted has no way to ask here who listens.
func trusted(string) bool { return true }
