package fs

import "testing"

// Steps of one script on one device: a program that writes a file without ever having
// read it replaces what the steps before left, as on any disk; one that had read it
// keeps what others changed since.
func TestScriptReplacesItsOwnFile(t *testing.T) {
	const pause = "; sleep .2; " // longer than a new file takes to reach the folder
	for _, c := range []struct{ name, script, want string }{
		{"shell writes twice, sed between", "echo a > f" + pause + "sed -i s/a/b/ f; echo c > f", "c\n"},
		{"cp after sed", "echo c > o; echo a > f" + pause + "sed -i s/a/b/ f; cp o f", "c\n"},
		{"cp after append and sed", "seq 5 > o; cp o f" + pause + "echo x >> f; sed -i s/2/two/ f; cp o f", "1\n2\n3\n4\n5\n"},
		{"the same twice", "seq 5 > o; cp o f" + pause + "echo x >> f; rm f; cp o f; sed -i '$ax' f; rm f; cp o f", "1\n2\n3\n4\n5\n"},
		{"back and forth", "seq 5 > o; cp o f" + pause + "for i in 1 2 3; do echo x >> f; cat f > /dev/null; cp o f; cat f > /dev/null; done", "1\n2\n3\n4\n5\n"},
		{"a program and its child", `python3 -c "
import subprocess, time
open('f', 'w').write('1\n2\n')
time.sleep(.2)
subprocess.run(['sed', '-i', 's/2/two/', 'f'])
open('f', 'w').write('1\n2\n')"`, "1\n2\n"},
		{"an editor and its child", `seq 5 > f; python3 -c "
import subprocess, time
a = open('f').read()
open('f', 'w').write(a + 'x\n')
time.sleep(.2)
subprocess.run(['sed', '-i', 's/2/two/', 'f'])
open('f', 'w').write(a + 'y\n')"`, "1\ntwo\n3\n4\n5\ny\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := mounted(t)
			d.run(c.script)
			d.flush()
			equal(t, "folder", d.text("f"), c.want)
			eventually(t, "mount shows "+c.want, func() bool { return d.read("f") == c.want })
		})
	}
}
