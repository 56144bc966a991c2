package text

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// trace is a recorded editing session (editing-traces of Joseph Gentle and others, CC BY 4.0).
type trace struct {
	StartContent string
	EndContent   string
	Txns         []struct {
		Parents *[]int // none: the transaction before
		Patches []patchOp
	}
}

// patchOp is [position, deleted, inserted], in the text that the patch before left.
type patchOp struct {
	pos, del int
	ins      string
}

func (p *patchOp) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&p.pos, &p.del, &p.ins})
}

// openTrace reads a trace from the folder SHEAF_DATA, or shared/data beside the repository.
func openTrace(t testing.TB, name string) *trace {
	dirs := []string{"../../../shared/data"}
	if d := os.Getenv("SHEAF_DATA"); d != "" {
		dirs = []string{d}
	}
	for _, d := range dirs {
		f, err := os.Open(filepath.Join(d, "editing-traces", name+".json.gz"))
		if err != nil {
			continue
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		var tr trace
		if err := json.NewDecoder(z).Decode(&tr); err != nil {
			t.Fatal(err)
		}
		return &tr
	}
	t.Skipf("no editing-traces in %v; SHEAF_DATA names the folder that has them", dirs)
	return nil
}

// events turns a trace into events, one for each patch.
func (tr *trace) events() []Event {
	var out []Event
	var last []ID // by transaction
	push := func(e Event) ID {
		out = append(out, e)
		return e.ID(testNode)
	}
	var start []ID
	if tr.StartContent != "" {
		start = []ID{push(Event{Hunks: []Hunk{{sp(0, 0, tr.StartContent)}}})}
	}
	for i, tx := range tr.Txns {
		parents := start
		switch {
		case tx.Parents == nil && i > 0:
			parents = []ID{last[i-1]}
		case tx.Parents != nil && len(*tx.Parents) > 0:
			parents = nil
			for _, p := range *tx.Parents {
				parents = append(parents, last[p])
			}
			parents = SortIDs(parents)
		}
		var id ID
		for _, p := range tx.Patches {
			id = push(Event{Parents: parents, Hunks: []Hunk{{sp(p.pos, p.del, p.ins)}}})
			parents = []ID{id}
		}
		last = append(last, id)
	}
	return out
}

var traceNames = []string{"automerge-paper", "friendsforever", "clownschool"}

// Recorded sessions, two of them of several people at once, end in the text that they ended in.
func TestTraces(t *testing.T) {
	for _, name := range traceNames {
		t.Run(name, func(t *testing.T) {
			tr := openTrace(t, name)
			d := NewDoc(testNode)
			for _, e := range tr.events() {
				add(t, d, e)
			}
			if d.Text() != tr.EndContent {
				t.Error("another text")
			}
			spans := d.Blame()
			n := 0
			for _, s := range spans {
				n += s.Bytes
			}
			if n != d.Len() {
				t.Errorf("blame covers %d of %d bytes", n, d.Len())
			}
		})
	}
}

func BenchmarkTrace(b *testing.B) {
	for _, name := range traceNames {
		b.Run(name, func(b *testing.B) {
			events := openTrace(b, name).events()
			for b.Loop() {
				d := NewDoc(testNode)
				for _, e := range events {
					add(b, d, e)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(events)), "ns/event")
		})
	}
}
