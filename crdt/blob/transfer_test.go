package blob

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func receive(t testing.TB, s *Store, h Hash, size int) *Incoming {
	t.Helper()
	in, err := s.Receive(h, int64(size))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func closeIn(t testing.TB, in *Incoming) {
	t.Helper()
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
}

func slice(t testing.TB, s *Store, h Hash, off, n int64) []byte {
	t.Helper()
	b, err := s.Slice(h, off, n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTransfer(t *testing.T) {
	for _, size := range []int{0, 1, SliceSize, SliceSize + 1, 5*SliceSize + 9} {
		for _, step := range []int64{SliceSize, MaxSlice} {
			from, to := open(t), open(t)
			b := noise(size)
			h := put(t, from, b)
			in := receive(t, to, h, size)
			if size > 0 && !slices.Equal(in.Missing(), []Range{{0, int64(size)}}) {
				t.Errorf("%d: missing %v", size, in.Missing())
			}
			for off := int64(0); off < int64(size); off += step {
				if in.Done() || to.Has(h) {
					t.Error("here before its time")
				}
				n := min(step, int64(size)-off)
				sl := slice(t, from, h, off, n)
				if over := int64(len(sl)) - n; over > 8+64*8*max(1, n/SliceSize) {
					t.Errorf("a slice of %d bytes has %d more", n, over)
				}
				if err := in.Write(off, sl); err != nil {
					t.Fatal(err)
				}
			}
			if !in.Done() || len(in.Missing()) > 0 || !bytes.Equal(read(t, to, h), b) {
				t.Errorf("%d in steps of %d: not received", size, step)
			}
			closeIn(t, in)
			if err := to.Sync(); err != nil {
				t.Error(err)
			}
			if left := partial(t, to); len(left) > 0 {
				t.Error("left behind:", left)
			}
			again := receive(t, to, h, size)
			if !again.Done() || len(again.Missing()) > 0 {
				t.Error("wants what is here")
			}
			closeIn(t, again)
		}
	}
}

func TestRanges(t *testing.T) {
	s := open(t)
	h := put(t, s, noise(2*SliceSize+5))
	for _, r := range []Range{{1, SliceSize}, {0, 5}, {0, 0}, {-SliceSize, SliceSize}, {0, -1}, {0, 3 * SliceSize}, {3 * SliceSize, 0},
		{SliceSize, 2 * SliceSize}, {1 << 62, SliceSize}, {SliceSize, 1 << 62}, {0, MaxSlice + SliceSize}} {
		if _, err := s.Slice(h, r.Off, r.Len); !errors.Is(err, ErrRange) {
			t.Errorf("%v: %v", r, err)
		}
	}
	for size, h := range map[int64]Hash{-1: h, MaxObject + 1: h, 0: h, 5: Sum(nil)} {
		if _, err := s.Receive(h, size); !errors.Is(err, ErrRange) {
			t.Errorf("Receive of %d bytes: %v", size, err)
		}
	}
}

// Whatever is done to a slice, it is refused, and changes nothing.
func TestTamperedSlices(t *testing.T) {
	from, to := open(t), open(t)
	b := noise(2*SliceSize + 100)
	h := put(t, from, b)
	in := receive(t, to, h, len(b))
	defer closeIn(t, in)
	last := slice(t, from, h, 2*SliceSize, 100)
	for i := range last {
		bad := slices.Clone(last)
		bad[i] ^= 1 << (i % 8)
		if err := in.Write(2*SliceSize, bad); !errors.Is(err, ErrRefused) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	for n := range last {
		if err := in.Write(2*SliceSize, last[:n]); !errors.Is(err, ErrRefused) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
	first := slice(t, from, h, 0, SliceSize)
	for off, s := range map[int64][]byte{0: last, SliceSize: first, 2 * SliceSize: append(slices.Clone(last), 0), 1: first, -SliceSize: first, 1 << 62: last} {
		if err := in.Write(off, s); !errors.Is(err, ErrRefused) {
			t.Errorf("at %d: %v", off, err)
		}
	}
	if !slices.Equal(in.Missing(), []Range{{0, int64(len(b))}}) {
		t.Error(in.Missing())
	}
	if err := in.Write(2*SliceSize, last); err != nil {
		t.Error(err)
	}
	if !slices.Equal(in.Missing(), []Range{{0, 2 * SliceSize}}) {
		t.Error(in.Missing())
	}
}

// A wrong size never completes.
func TestWrongSize(t *testing.T) {
	from := open(t)
	b := noise(2*SliceSize + 100)
	h := put(t, from, b)
	for _, size := range []int{1, SliceSize, 2 * SliceSize, 2*SliceSize + 99, 2*SliceSize + 101, 3 * SliceSize} {
		to := open(t)
		in := receive(t, to, h, size)
		for _, r := range []Range{{0, SliceSize}, {SliceSize, SliceSize}, {2 * SliceSize, 100}} {
			sl := slice(t, from, h, r.Off, r.Len)
			if err := in.Write(r.Off, sl); !errors.Is(err, ErrRefused) {
				t.Errorf("size %d, slice at %d: %v", size, r.Off, err)
			}
		}
		if in.Done() {
			t.Errorf("size %d: done", size)
		}
		closeIn(t, in)
	}
}

func TestResume(t *testing.T) {
	from, to := open(t), open(t)
	b := noise(4*SliceSize + 3)
	h := put(t, from, b)
	in := receive(t, to, h, len(b))
	for _, g := range []int64{1, 3} {
		if err := in.Write(g*SliceSize, slice(t, from, h, g*SliceSize, SliceSize)); err != nil {
			t.Fatal(err)
		}
	}
	closeIn(t, in)
	want := []Range{{0, SliceSize}, {2 * SliceSize, SliceSize}, {4 * SliceSize, 3}}
	to, err := Open(to.dir)
	if err != nil {
		t.Fatal(err)
	}
	in = receive(t, to, h, len(b))
	if got := in.Missing(); !slices.Equal(got, want) {
		t.Fatal(got)
	}
	for _, r := range want {
		if err := in.Write(r.Off, slice(t, from, h, r.Off, r.Len)); err != nil {
			t.Fatal(err)
		}
	}
	if !in.Done() || !bytes.Equal(read(t, to, h), b) {
		t.Error("not received")
	}
	closeIn(t, in)
}

// What was received earlier and went bad on disk since is received again, not made an object.
func TestResumeOverDamage(t *testing.T) {
	from := open(t)
	b := noise(2 * SliceSize)
	h := put(t, from, b)
	damages := map[string]func(*Store) error{
		"data": func(s *Store) error { return os.WriteFile(s.partialPath(h), make([]byte, len(b)), 0o600) },
		"cut":  func(s *Store) error { return os.Truncate(s.partialPath(h), 5) },
		"gone": func(s *Store) error { return os.Remove(s.partialPath(h)) },
		"note": func(s *Store) error { return os.Truncate(s.gotPath(h), 30) },
		"nope": func(s *Store) error { return os.WriteFile(s.gotPath(h), []byte("x"), 0o600) },
		"lost": func(s *Store) error { return os.Remove(s.gotPath(h)) },
	}
	for name, harm := range damages {
		to := open(t)
		in := receive(t, to, h, len(b))
		if err := in.Write(0, slice(t, from, h, 0, SliceSize)); err != nil {
			t.Fatal(err)
		}
		closeIn(t, in)
		if err := harm(to); err != nil {
			t.Fatal(err)
		}
		in = receive(t, to, h, len(b))
		for rounds := 0; !in.Done(); rounds++ {
			if rounds > 2 {
				t.Fatalf("%s: never done", name)
			}
			for _, r := range in.Missing() {
				if err := in.Write(r.Off, slice(t, from, h, r.Off, r.Len)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		closeIn(t, in)
		if err := to.Verify(h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left := partial(t, to); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

// Several senders fill one object, in any order and more than once.
func TestManySenders(t *testing.T) {
	from, to := open(t), open(t)
	b := noise(9*SliceSize + 77)
	h := put(t, from, b)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			in, err := to.Receive(h, int64(len(b)))
			if err != nil {
				t.Error(err)
				return
			}
			defer in.Close()
			for i := range int64(10) {
				off := (i*3 + int64(g)) % 10 * SliceSize
				sl, err := from.Slice(h, off, min(SliceSize, int64(len(b))-off))
				if err == nil {
					err = in.Write(off, sl)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if !in.Done() {
				t.Error("not done")
			}
		})
	}
	wg.Wait()
	if err := to.Verify(h); err != nil {
		t.Error(err)
	}
	if left := partial(t, to); len(left) > 0 {
		t.Error("left behind:", left)
	}
}

func TestReceiveIsShared(t *testing.T) {
	s := open(t)
	b := noise(SliceSize * 2)
	h := Sum(b)
	one, two := receive(t, s, h, len(b)), receive(t, s, h, len(b))
	if _, err := s.Receive(h, 5); !errors.Is(err, ErrRange) {
		t.Error(err)
	}
	closeIn(t, one)
	from := open(t)
	put(t, from, b)
	if err := two.Write(0, slice(t, from, h, 0, 2*SliceSize)); err != nil {
		t.Error("closed for one, closed for all:", err)
	}
	if err := s.Remove(h); err != nil {
		t.Fatal(err)
	}
	three := receive(t, s, h, len(b))
	if three.Done() {
		t.Error("removed, and still done")
	}
	closeIn(t, two)
	closeIn(t, three)
	if err := three.Write(0, slice(t, from, h, 0, 2*SliceSize)); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestGotNote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 40*SliceSize).Draw(t, "size")
		got := newBitmap(size)
		for range rapid.IntRange(0, 10).Draw(t, "n") {
			got.set(rapid.Int64Range(0, groupsOf(size)-1).Draw(t, "g"))
		}
		b := encodeGot(got, size)
		back, ok := decodeGot(b, size)
		if !ok || !bytes.Equal(back, got) {
			t.Fatal("does not read back")
		}
		if _, ok := decodeGot(b, size+8*SliceSize); ok {
			t.Fatal("reads back for another object")
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1
		if _, ok := decodeGot(b, size); ok {
			t.Fatal("reads back though it is damaged")
		}
	})
}

func FuzzWrite(f *testing.F) {
	from, err := Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	b := noise(2*SliceSize + 10)
	h := put(f, from, b)
	f.Add(int64(2*SliceSize), slice(f, from, h, 2*SliceSize, 10))
	f.Add(int64(0), []byte{})
	f.Add(int64(SliceSize), slice(f, from, h, 2*SliceSize, 10))
	to, err := Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, off int64, sl []byte) {
		in := receive(t, to, h, len(b))
		before := fmt.Sprint(in.Missing())
		err := in.Write(off, sl)
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
		if err != nil && before != fmt.Sprint(in.Missing()) {
			t.Error("refused, and yet something changed")
		}
		closeIn(t, in)
		if to.Has(h) {
			if err := to.Verify(h); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzDecodeGot(f *testing.F) {
	f.Add([]byte{}, int64(1))
	f.Add(encodeGot(bitmap{5}, 3*SliceSize), int64(3*SliceSize))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if size < 1 || size > 1<<30 {
			return
		}
		if got, ok := decodeGot(b, size); ok && !bytes.Equal(encodeGot(got, size), b) {
			t.Fatal("two encodings of one note")
		}
	})
}
