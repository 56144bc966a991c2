package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/infer/model/modeltest"
	"github.com/sheaf-fs/sheaf/integration/rig"
)

// BenchmarkAsk reports, for the embedded model on a mount: from the close of the file to
// the first words in it, with the second of quiet; and the median of saves to another file
// while nothing and while the model runs.
func BenchmarkAsk(b *testing.B) {
	dir := modeltest.Store(b).Dir()
	a := rig.NewDevice(b, "a", nil)
	a.Env = append(a.Env, "SHEAF_MODELS="+dir, "SHEAF_SERVERS=off")
	a.Init()
	// One shell makes all saves, and says how long they took.
	saves := func() time.Duration {
		var ns []time.Duration
		out := a.Shell(`for i in $(seq 100); do s=$(date +%s%N); echo $i >other.md; e=$(date +%s%N); echo $((e-s)); done`)
		for f := range strings.FieldsSeq(out) {
			d, err := time.ParseDuration(f + "ns")
			if err != nil {
				b.Fatal(err)
			}
			ns = append(ns, d)
		}
		slices.Sort(ns)
		return ns[len(ns)/2]
	}
	n := 0
	for b.Loop() {
		n++
		warm := fmt.Sprintf("warm%d.ask", n)
		a.Write(warm, "---\nmax_tokens: 2\n---\nWhat?\n")
		rig.UntilIn(b, answerWithin, "the model is loaded", func() error { return whole(a, warm) })
		idle := saves()

		name := fmt.Sprintf("q%d.ask", n)
		a.Write(name, "---\ntemperature: 0\nmax_tokens: 400\n---\nCount from one to a hundred, in words, and explain each number.\n")
		began := time.Now()
		rig.UntilIn(b, answerWithin, "words", func() error {
			text, err := a.Read(name)
			if err == nil && !strings.Contains(text, ": answering)") {
				err = whole(a, name)
			}
			return err
		})
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "close-to-words-ms")
		busy := saves()
		if whole(a, name) == nil {
			b.Log("the answer ended before the saves did")
		}
		b.ReportMetric(float64(idle.Microseconds()), "save-idle-us")
		b.ReportMetric(float64(busy.Microseconds()), "save-busy-us")
		b.ReportMetric(float64(busy)/float64(idle), "save-ratio")
	}
}

// whole tells why a file has no whole answer.
func whole(d *rig.Device, rel string) error {
	text, err := d.Read(rel)
	if err == nil && !strings.Contains(text, "## Model (smollm2-135m on a)\n") {
		err = fmt.Errorf("it has: %q", text)
	}
	return err
}
