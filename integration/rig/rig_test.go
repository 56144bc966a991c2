package rig

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m, nil) }

func TestScreen(t *testing.T) {
	s := NewScreen(4, 10)
	for _, step := range []struct{ in, want string }{
		{"hello\r\nworld", "hello\nworld"},
		{"\x1b[1;3Hxx\x1b[K", "hexx\nworld"},
		{"\x1b[2J\x1b[H0123456789ab", "0123456789\nab"},
		{"\r\n2\r\n3\r\n4", "ab\n2\n3\n4"},
		{"\x1b[2;3r\x1b[3;1H\nX\x1b[r", "ab\n3\nX\n4"},
		{"\x1b[1;1H\x1b[Lé\x1b[", "é\nab\n3\nX"},
		{"2;1H\x1b[1P\x1b7\x1b[2@\x1b8\x1b(B\x1b[7m", "é\n  b\n3\nX"},
		{"\x1b[1;1H\x1bMtop", "top\né\n  b\n3"},
	} {
		s.Write([]byte(step.in))
		if got := s.String(); got != step.want {
			t.Fatalf("after %q: %q, want %q", step.in, got, step.want)
		}
	}
}

// TestEditors uses every editor on an ordinary directory: what fails here is the
// rig's fault.
func TestEditors(t *testing.T) {
	for _, name := range Editors() {
		t.Run(name, func(t *testing.T) {
			d := NewDevice(t, "plain", nil)
			d.Write("f.txt", "one\ntwo\nthree\n")
			e := d.Edit(name, "f.txt", "three")
			e.InsertUnder(2, "between")
			e.Append("last")
			e.Save()
			Sees(t, "f.txt", "one\ntwo\nbetween\nthree\nlast\n", d)
			e.Quit()

			// It does ask when the file really changed under it, and the rig sees that.
			e = d.Edit(name, "f.txt", "three")
			e.Append("mine")
			d.Shell("sleep 1.1; echo other > f.txt; touch -d '+1 hour' f.txt")
			e.Type(e.kind.save)
			Until(t, "alarm", func() error {
				for _, a := range e.kind.alarms {
					if strings.Contains(e.Screen(), a) {
						return nil
					}
				}
				return SameText(e.Screen(), "an alarm")
			})
		})
	}
}

func TestNet(t *testing.T) {
	net := NewNet(t)
	a, b := NewDevice(t, "a", net.Namespace()), NewDevice(t, "b", net.Namespace())
	ping := func() error { // a refusal is an answer
		_, err := a.TryShell("", `timeout 1 bash -c "echo > /dev/tcp/$1/9"`, b.IP())
		if err != nil && strings.Contains(err.Error(), "refused") {
			return nil
		}
		return err
	}
	Until(t, "an answer", ping)
	b.Cut()
	if ping() == nil {
		t.Error("a cut cable carries")
	}
	b.Mend()
	Until(t, "mended", ping)
	if os.Getpid() > 100 {
		t.Error("not in a process namespace of its own")
	}
}
