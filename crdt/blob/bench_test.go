package blob

import (
	"bytes"
	"testing"
)

func BenchmarkPut1MiB(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	data := noise(1 << 20)
	b.SetBytes(1 << 20)
	for b.Loop() {
		data[0]++
		if _, _, err := s.Put(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSlice(b *testing.B) {
	s := open(b)
	data := noise(16 << 20)
	h := put(b, s, data)
	b.SetBytes(SliceSize)
	for b.Loop() {
		slice(b, s, h, 7*SliceSize, SliceSize)
	}
}

func BenchmarkReceive16MiB(b *testing.B) {
	from, to := open(b), open(b)
	data := noise(16 << 20)
	h := put(b, from, data)
	var slices [][]byte
	for off := int64(0); off < 16<<20; off += SliceSize {
		slices = append(slices, slice(b, from, h, off, SliceSize))
	}
	b.SetBytes(16 << 20)
	for b.Loop() {
		in := receive(b, to, h, len(data))
		for i, sl := range slices {
			if err := in.Write(int64(i)*SliceSize, sl); err != nil {
				b.Fatal(err)
			}
		}
		if err := in.Close(); err != nil {
			b.Fatal(err)
		}
		if err := to.Remove(h); err != nil {
			b.Fatal(err)
		}
	}
}
