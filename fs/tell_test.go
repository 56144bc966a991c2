package fs

import "testing"

// TestTurnsAreForgotten: what files held that changed is not kept when they change no more.
func TestTurnsAreForgotten(t *testing.T) {
	t.Parallel()
	here, far := pair(t)
	here.write("f", poem)
	here.flush()
	exchange(t, here, far)
	for _, s := range []string{"one\n", "two\n"} {
		here.arrives(far, prepend(s))
	}
	info, err := here.f.Resolve("f")
	if err != nil {
		t.Fatal(err)
	}
	known := func() bool { return here.s.fs.turns.Knows(info.Node) }
	eventually(t, "the changes are taken up", known)
	eventually(t, "the file is forgotten", func() bool { return !known() })
}
