package text

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// Texts of every shape merge: two people change words that are apart, and each of them may change one that the other does.
func TestShapes(t *testing.T) {
	long := strings.Repeat("var a = [1, 2, 3]; ", 5<<20/19) // one line of 5 MB
	for _, c := range []struct{ name, base, ours, theirs, want string }{
		{"CRLF", "one\r\ntwo\r\nthree\r\nfour\r\n", "one\r\n2\r\nthree\r\nfour\r\n", "one\r\ntwo\r\nthree\r\n4\r\n", "one\r\n2\r\nthree\r\n4\r\n"},
		{"line ends changed", "one two\r\nthree four\r\n", "one two\nthree four\n", "one 2\r\nthree four\r\n", "one 2\nthree four\n"},
		{"no newline at the end", "one\ntwo", "ONE\ntwo", "one\ntwo\nthree", "ONE\ntwo\nthree"},
		{"newline added at the end", "one\ntwo", "one\ntwo\n", "1\ntwo", "1\ntwo\n"},
		{"BOM", "\ufeffone\ntwo\nthree\n", "\ufeff1\ntwo\nthree\n", "one\ntwo\nthree\n", "1\ntwo\nthree\n"},
		{"emoji", "go \U0001f469\u200d\U0001f680 now or later\n", "go \U0001f468\u200d\U0001f680 now or later\n", "go \U0001f469\u200d\U0001f680 now or never\n", "go \U0001f468\u200d\U0001f680 now or never\n"},
		{"combining", "cafe\u0301 au lait, cold\n", "caffe\u0300 au lait, cold\n", "cafe\u0301 au lait, hot\n", "caffe\u0300 au lait, hot\n"},
		{"no blanks", "春眠不覺曉處處聞啼鳥\n", "春眠不觉曉處處聞啼鳥\n", "春眠不覺曉處處聞啼鸟\n", "春眠不觉曉處處聞啼鸟\n"},
		{"one long line", long, "let" + long[3:], long[:len(long)-7] + "4]; ", "let" + long[3:len(long)-7] + "4]; "},
		{"emptied and changed", "one\ntwo\n", "", "one\ntwo and three\n", " and three"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDoc(testNode)
			v := save(t, d, nil, c.base)
			for _, saved := range []string{c.ours, c.theirs} {
				hunks := Diff(c.base, saved)
				n := 0
				for _, h := range hunks {
					for _, s := range h {
						n += s.Del + len(s.Ins)
					}
				}
				if n > 100 {
					t.Errorf("%d characters and bytes for a word", n)
				}
				add(t, d, Event{Parents: v, Hunks: hunks})
			}
			if got := d.Text(); got != c.want {
				if len(got) > 200 {
					got = got[:100] + " … " + got[len(got)-100:]
				}
				t.Errorf("%q, not %q", got, c.want[:min(len(c.want), 200)])
			}
		})
	}
}

// A log to which lines are appended for days.
func BenchmarkLog(b *testing.B) {
	const line = "2026-11-30T12:00:00Z something happened again, as it does\n"
	for _, appends := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(appends), func(b *testing.B) {
			memory := 0
			for b.Loop() {
				d := NewDoc(testNode)
				var v []ID
				for i := range appends {
					nonce := make([]byte, NonceSize)
					binary.LittleEndian.PutUint64(nonce, uint64(i))
					v = []ID{add(b, d, Event{Parents: v, Hunks: []Hunk{{sp(i*len(line), 0, line)}}, Nonce: nonce})}
				}
				if d.Len() != appends*len(line) {
					b.Fatal("lines are missing")
				}
				memory = d.Memory()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(appends), "ns/line")
			b.ReportMetric(float64(memory)/float64(appends), "B/line")
		})
	}
}
