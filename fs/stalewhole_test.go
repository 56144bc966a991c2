package fs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// put gives a file of a device new content, as its user does, whatever it is.
func (d *device) put(path, content string) {
	d.t.Helper()
	info, err := d.f.Resolve(path)
	if err != nil {
		d.t.Fatal(err)
	}
	h, size, err := d.home.Objects().Put(strings.NewReader(content))
	if err != nil {
		d.t.Fatal(err)
	}
	err = d.f.Update(func(tx *crdt.Tx) error {
		_, err := tx.Write(info.Node, info.Version, crdt.NewContent{Object: &crdt.Object{Hash: crdt.Hash(h), Size: size}})
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// contents are all that a mount shows, whatever the names, sorted.
func (d *device) contents() string {
	d.t.Helper()
	return d.run(`for f in *; do tr '\0' 0 < "$f"; echo; done | sort`)
}

// A program saves bytes that are no text over what another device saved since it read
// them: both are there, on both devices, and stay both when it saves again.
func TestStaleSaveOfBytes(t *testing.T) {
	const read = "a = open('f', 'rb').read()"
	for _, c := range []struct{ name, read, save, again string }{
		{"open for writing", read, "b = open('f', 'wb'); b.write(a + b'%s'); b.close()", ""},
		{"in pieces", read, "b = open('f', 'wb', 0); [b.write(bytes([x])) for x in a + b'%s']; b.close()", ""},
		{"whole, without truncation", read, "b = open('f', 'r+b'); b.write(a + b'%s'); b.truncate(); b.close()", ""},
		{"through a temporary file", read, "b = open('t', 'wb'); b.write(a + b'%s'); b.close(); os.rename('t', 'f')", ""},
		{"old file aside first", read, "os.rename('f', 'f~'); b = open('f', 'wb'); b.write(a + b'%s'); b.close(); os.unlink('f~')", ""},
		{"backup by reading again", read, "c = open('f', 'rb').read(); b = open('f', 'wb'); b.write(a + b'%s'); b.close()", ""},
		{"slowly, having looked at the file", read, "open('f', 'rb').read(); b = open('t', 'wb'); b.write(a + b'%s'); b.close(); time.sleep(1.2); os.rename('t', 'f')", ""},
		{"by a child", read, "import subprocess; subprocess.run(['tee', 'f'], input=a + b'%s', stdout=subprocess.DEVNULL)", ""},
		{"in place", "b = open('f', 'r+b'); a = b.read()", "b.seek(len(a)); b.write(b'%s'); b.flush(); b.close()",
			"b = open('f', 'r+b'); b.seek(len(a)); b.write(b'%s'); b.close()"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			here, far := pair(t)
			here.write("f", "\x00first")
			here.flush()
			exchange(t, here, far)
			p := startPython(here)
			p.do("import os, time; os.setpgrp()") // a job of its own, which the test is not of
			p.do(c.read)
			far.put("f", "\x00of the other")
			far.send(here)
			if !strings.HasPrefix(c.read, "b =") {
				eventually(t, "the other's is seen", func() bool { return here.read("f") == "\x00of the other" })
			}
			p.do(fmt.Sprintf(c.save, " mine"))
			both := "0first mine\n0of the other\n"
			eventually(t, "both in the mount", func() bool { here.flush(); return here.contents() == both })
			equal(t, "under the name", here.read("f"), "\x00first mine")

			// A second save by the same process is of what it saved.
			if c.again == "" {
				c.again = c.save
			}
			p.do(fmt.Sprintf(c.again, " again"))
			both = "0first again\n0of the other\n"
			eventually(t, "both after a second save", func() bool { here.flush(); return here.contents() == both })
			exchange(t, here, far)
			equal(t, "far", far.text("f"), "\x00first again")
			equal(t, "names on both", far.names(), here.names())
		})
	}
}

// Programs that have not read a file mean to replace it, as on any disk; so does a job
// that has written it since one of it read it.
func TestBytesWrittenBlindly(t *testing.T) {
	here, far := pair(t)
	here.write("f", "\x00first")
	here.flush()
	exchange(t, here, far)
	p := startPython(here)
	p.do("import os, subprocess; os.setpgrp(); a = open('f', 'rb').read()")
	for i := range 3 {
		p.do(fmt.Sprintf("subprocess.run(['tee', 'f'], input=b'\\0%d', stdout=subprocess.DEVNULL)", i))
		here.flush()
	}
	equal(t, "names", here.run("ls"), "f\n")
	exchange(t, here, far)
	far.put("f", "\x00of the other")
	far.send(here)
	eventually(t, "the other's is seen", func() bool { return here.read("f") == "\x00of the other" })
	here.run(`printf '\0blind' > f`)
	here.flush()
	equal(t, "names", here.run("ls"), "f\n")
	equal(t, "in the folder", here.text("f"), "\x00blind")
}

// Programs of one device that hold an object open for reading and writing see and keep
// each other's parts; one that another device has replaced meanwhile goes on as it was read.
func TestObjectHeldOpen(t *testing.T) {
	here, far := pair(t)
	here.write("f", "\x00"+strings.Repeat("-", 20))
	here.flush()
	exchange(t, here, far)
	p, q := startPython(here), startPython(here)
	p.do("b = open('f', 'r+b', 0); a = b.read()")
	q.do("b = open('f', 'r+b', 0); a = b.read()")
	p.do("b.seek(3); b.write(b'p')")
	q.do("b.seek(5); b.write(b'q')")
	p.do("b.seek(7); b.write(b'P')")
	equal(t, "seen by all", here.read("f"), "\x00--p-q-P-------------")
	p.do("b.close()")
	q.do("b.close()")
	here.flush()
	eventually(t, "both parts", func() bool { return here.text("f") == "\x00--p-q-P-------------" })
	equal(t, "names", here.run("ls"), "f\n")
}
