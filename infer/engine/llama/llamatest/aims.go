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

// NotMeasured ends a test or benchmark that other programs would make a figure of.
func NotMeasured(tb testing.TB, why string) {
	tb.Helper()
	line(tb, fmt.Sprintf("%s: not measured: %s took more than %v; other programs use the cores", tb.Name(), why, Patience))
	tb.Skipf("not measured: %s took more than %v; other programs use the cores", why, Patience)
}

// report makes a figure a metric of the benchmark and a line of the table.
func report(b *testing.B, what, unit string, value float64, aim string, met bool) {
	b.Helper()
	b.ReportMetric(value, strings.ReplaceAll(strings.ReplaceAll(what, ",", ""), " ", "-")+"-"+unit)
	verdict := map[bool]string{true: "met", false: "MISSED"}[met]
	line(b, fmt.Sprintf("%-58s %9.2f %-5s %-14s %s", what, value, unit, aim, verdict))
}

// line adds a line to the file that SHEAF_BENCH_TABLE names, which several benchmarks write.
func line(tb testing.TB, text string) {
	tb.Helper()
	path := os.Getenv("SHEAF_BENCH_TABLE")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, text); err != nil {
		tb.Fatal(err)
	}
}
