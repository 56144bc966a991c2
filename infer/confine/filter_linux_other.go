//go:build linux && !amd64 && !arm64

package confine

// filter does nothing: nobody has tried one on these machines.
func filter(bool) error { return nil }
