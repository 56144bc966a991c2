package llamatest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// AtMost reports a figure of a benchmark that should not be more than aim.
func AtMost(b *testing.B, aim, value float64, unit, what string) {
	report(b, what, unit, value, fmt.Sprintf("at most %g", aim), value <= aim)
}

// AtLeast reports a figure of a benchmark that should not be less than aim.
func AtLeast(b *testing.B, aim, value float64, unit, what string) {
	report(b, what, unit, value, fmt.Sprintf("at least %g", aim), value >= aim)
}

// report adds a line to the file that SHEAF_BENCH_TABLE names, which several
// benchmarks write, and a metric to the benchmark.
func report(b *testing.B, what, unit string, value float64, aim string, met bool) {
	b.Helper()
	b.ReportMetric(value, strings.ReplaceAll(strings.ReplaceAll(what, ",", ""), " ", "-")+"-"+unit)
	path := os.Getenv("SHEAF_BENCH_TABLE")
	if path == "" {
		return
	}
	verdict := map[bool]string{true: "met", false: "MISSED"}[met]
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%-58s %9.2f %-5s %-14s %s\n", what, value, unit, aim, verdict); err != nil {
		b.Fatal(err)
	}
}
