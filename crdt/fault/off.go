//go:build !sheaffault

package fault

// Enabled reports whether this binary can inject faults.
const Enabled = false

// On reports whether the named fault is to happen.
func On(string) bool { return false }
