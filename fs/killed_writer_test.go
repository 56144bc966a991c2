package fs

import (
	"slices"
	"testing"
)

// A text that is gone because its writer was killed, or never wrote anything, is named
// by status, whoever had read or saved it before.
func TestLostTextIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ script, kind, left string }{
		"killed":                          {`sh -c 'exec > f; kill -9 $$' || true`, "cut-short", ""},
		"killed, an ancestor had saved":   {`printf 'alpha\nbeta\ngamma\ndelta\nmore\n' > f; sh -c 'exec > f; kill -9 $$' || true`, "cut-short", ""},
		"killed, it had read":             {`sh -c 'read x < f; exec > f; kill -9 $$' || true`, "cut-short", ""},
		"killed after a part":             {`sh -c 'read x < f; exec > f; echo alpha; kill -9 $$' || true`, "cut-short", "alpha\n"},
		"emptied by who had read it":      {`sh -c 'read x < f; : > f; read wait'`, "emptied", ""},
		"written anew":                    {`echo other > f`, "replaced", "other\n"},
		"saved by who had read it":        {`sh -c 'x=$(cat f); echo "$x" > g; read y < f; echo "$y" > f'`, "", "alpha\n"},
		"written anew, an ancestor saved": {`printf 'alpha\nbeta\n' > f; sh -c 'echo other > f'`, "replaced", "other\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d := mounted(t)
			d.write("f", poem)
			d.flush()
			script := d.command("sh", "-c", c.script)
			wait, err := script.StdinPipe() // who reads it is still there when the save is looked at
			if err != nil {
				t.Fatal(err)
			}
			if err := script.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the save", func() bool { return d.text("f") == c.left })
			wait.Close()
			script.Wait()
			var kinds []string
			for _, n := range d.f.Status().Notes {
				if n.Path == "f" {
					kinds = append(kinds, n.Kind)
				}
			}
			if want := slices.DeleteFunc([]string{c.kind}, func(k string) bool { return k == "" }); !slices.Equal(kinds, want) {
				t.Errorf("status has %q, want %q", kinds, want)
			}
		})
	}
}
