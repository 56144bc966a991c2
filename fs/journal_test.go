package fs

import (
	"bytes"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/sheaf-fs/sheaf/crdt"
)

func testRecord(id uint64) record {
	return record{ID: id, Kind: sessionRecord, Node: crdt.NodeID{byte(id)}, Name: "n", Base: crdt.Version{{1}, {2}}, Truncated: true}
}

func openTestJournal(t testing.TB, dir string) *journal {
	t.Helper()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.close() })
	return j
}

// TestJournal: whatever was put and not dropped is there after a restart, with the
// bytes that were packed.
func TestJournal(t *testing.T) {
	root := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		dir := filepath.Join(root, strconv.Itoa(n))
		j, err := openJournal(dir)
		if err != nil {
			rt.Fatal(err)
		}
		live, packed := map[uint64]bool{}, map[uint64]string{}
		for range rapid.IntRange(0, 30).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0, 1:
				r := testRecord(j.number())
				if err := j.put(r); err != nil {
					rt.Fatal(err)
				}
				live[r.ID] = true
			case 2, 3:
				for id := range live {
					if err := j.drop(id); err != nil {
						rt.Fatal(err)
					}
					delete(live, id)
					delete(packed, id)
					break
				}
			case 5:
				for id := range live {
					p := piece{ID: id, Off: rapid.Int64Range(0, 20).Draw(rt, "offset"), Data: rapid.SliceOfN(rapid.Byte(), 1, 10).Draw(rt, "data")}
					have := packed[id]
					ok, err := j.pack(p)
					if err != nil || ok != (int(p.Off) <= len(have)) {
						rt.Fatalf("pack at %d of %d bytes: %v, %v", p.Off, len(have), ok, err)
					}
					if ok {
						packed[id] = have[:p.Off] + string(p.Data) + have[min(len(have), int(p.Off)+len(p.Data)):]
					}
					break
				}
			case 6:
				for id, want := range packed {
					fd, err := j.unpack(testRecord(id), nil, math.MaxInt64, rapid.Bool().Draw(rt, "sync"))
					if err != nil {
						rt.Fatal(err)
					}
					syscall.Close(fd)
					if got, err := os.ReadFile(j.path(id)); err != nil || string(got) != want {
						rt.Fatalf("unpacked %q, %v; want %q", got, err, want)
					}
					delete(packed, id)
					delete(live, id)
					if err := j.drop(id); err != nil {
						rt.Fatal(err)
					}
					break
				}
			case 4:
				if rapid.Bool().Draw(rt, "compact") {
					if err := j.compact(); err != nil {
						rt.Fatal(err)
					}
				}
				j.close()
				if j, err = openJournal(dir); err != nil {
					rt.Fatal(err)
				}
			}
			got := map[uint64]bool{}
			for _, r := range j.records() {
				got[r.ID] = true
			}
			if !maps.Equal(got, live) {
				rt.Fatalf("live %v, want %v", got, live)
			}
			for id := range live {
				if got := j.packedText(id); got != packed[id] {
					rt.Fatalf("packed %q, want %q", got, packed[id])
				}
			}
		}
		j.close()
	})
}

// TestJournalTail: a frame that a crash cut short ends the journal and no more.
func TestJournalTail(t *testing.T) {
	dir := t.TempDir()
	j := openTestJournal(t, dir)
	for id := uint64(1); id <= 3; id++ {
		if err := j.put(testRecord(id)); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		live, _, n := decodeJournal(whole[:cut])
		if int(n) > cut || len(live) > 3 || len(live) != int(n)*3/len(whole) {
			t.Fatalf("cut at %d: %d records in %d bytes", cut, len(live), n)
		}
	}
	if r := j.records(); len(r) != 3 || !r[0].Base.Equal(testRecord(1).Base) {
		t.Errorf("records: %+v", r)
	}
}

func FuzzJournal(f *testing.F) {
	frame, _ := encodeFrame(change{Put: &record{ID: 1, Kind: moveRecord}})
	f.Add(frame)
	f.Add([]byte{})
	packed, _ := encodeFrame(change{Put: &record{ID: 1, Kind: sessionRecord}})
	piece, _ := encodeFrame(change{Pack: &piece{ID: 1, Data: []byte("bytes")}})
	f.Add(append(packed, piece...))
	into, _ := encodeFrame(change{Put: &record{ID: 1, Kind: sessionRecord, Into: 100}})
	again, _ := encodeFrame(change{Put: &record{ID: 1, Kind: sessionRecord, Into: 105}, Unpack: 1})
	f.Add(slices.Concat(into, piece, again, piece))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, packed, n := decodeJournal(b)
		if n < 0 || n > int64(len(b)) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		for id, x := range packed {
			size := 0
			for i, e := range x {
				if size += len(e.data); e.off < 0 || i > 0 && e.off <= x[i-1].end() {
					t.Fatalf("session %d: %v", id, x)
				}
			}
			if size > packMost || len(x) > piecesMost {
				t.Fatalf("session %d: %d pieces of %d bytes", id, len(x), size)
			}
		}
	})
}

// A piece's frame is what the CBOR library makes of it.
func TestPieceFrame(t *testing.T) {
	dir := t.TempDir()
	j := openTestJournal(t, dir)
	for _, p := range []piece{
		{}, {ID: 23, Off: 24, Data: []byte("a")}, {ID: 255, Off: 256, Data: make([]byte, 23)}, {ID: 1 << 16, Off: 1<<16 - 1, Data: make([]byte, 255)},
		{ID: 1 << 32, Off: packMost, Data: make([]byte, 256)}, {ID: 1<<64 - 1, Data: make([]byte, packMost)},
	} {
		if p.Data == nil {
			p.Data = []byte{}
		}
		at := j.size
		if err := j.writePiece(p); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, journalName))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := encodeFrame(change{Pack: &p}); err != nil || !bytes.Equal(b[at:], want) {
			t.Errorf("%d bytes at %d: the frame is %x, want %x, %v", len(p.Data), p.Off, b[at:at+20], want[:20], err)
		}
	}
}

// A session that writes the same place again and again does not fill the disk.
func TestJournalStaysSmall(t *testing.T) {
	dir := t.TempDir()
	j := openTestJournal(t, dir)
	if err := j.put(testRecord(1)); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, packMost)
	for i := range compactAt/packMost + 100 {
		data[0] = byte(i)
		if ok, err := j.pack(piece{ID: 1, Data: data}); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if j.size > compactAt/2 {
		t.Errorf("%d bytes", j.size)
	}
	j.close()
	if got := openTestJournal(t, dir).packedText(1); got != string(data) {
		t.Errorf("%d bytes are packed, the first is %d", len(got), got[0])
	}
}
