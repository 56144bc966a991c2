//go:build sheaffault

package fault

import (
	"os"
	"slices"
	"strings"
	"sync"
)

// Enabled reports whether this binary can inject faults.
const Enabled = true

// On reports whether the named fault is to happen.
func On(name string) bool { return slices.Contains(named(), name) }

var named = sync.OnceValue(func() []string { return parse(os.Getenv("SHEAF_FAULT")) })

func parse(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
