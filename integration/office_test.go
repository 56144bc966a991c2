package integration

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// office drives a LibreOffice without a window: it makes documents, holds some open with
// a paragraph more, and saves them all.
const office = `
import os, subprocess, sys, time, uno
from com.sun.star.beans import PropertyValue
from com.sun.star.text.ControlCharacter import PARAGRAPH_BREAK
pipe = "sheaf%d" % os.getpid()
program = subprocess.Popen(["soffice", "-env:UserInstallation=file://" + sys.argv[1], "--headless", "--norestore",
    "--nologo", "--accept=pipe,name=%s;urp;" % pipe], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
local = uno.getComponentContext()
resolve = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local).resolve
while program.poll() is None:
    try: ctx = resolve("uno:pipe,name=%s;urp;StarOffice.ComponentContext" % pipe); break
    except Exception: time.sleep(0.05)
desktop = ctx.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", ctx)
docs = []
def add(d, line):
    t = d.Text
    c = t.createTextCursor()
    c.gotoStart(False)
    c.gotoEndOfParagraph(False)
    t.insertControlCharacter(c, PARAGRAPH_BREAK, False)
    t.insertString(c, line, False)
for command in sys.stdin:
    what, path, arg, line = command.rstrip("\n").split("\t")
    if what == "make": # from the text file arg, under the filter line
        d = desktop.loadComponentFromURL("file://" + arg, "_blank", 0, ())
        p = PropertyValue(); p.Name = "FilterName"; p.Value = line
        d.storeToURL("file://" + path, (p,))
        d.close(True)
    elif what == "open":
        d = desktop.loadComponentFromURL("file://" + path, "_blank", 0, ())
        add(d, line)
        docs.append(d)
    elif what == "save":
        for d in docs:
            try: d.store()
            except Exception as e: print(d.URL, e)
            d.close(True)
        docs = []
    print("done", flush=True)
try: desktop.terminate()
except Exception: pass
program.wait()
`

// TestOffice: LibreOffice on A has documents open that B changes, renames and removes;
// then it saves. A text merges, also one in XML.
func TestOffice(t *testing.T) {
	if os.Getenv("SHEAF_OFFICE") == "" {
		t.Skip("SHEAF_OFFICE is not set: LibreOffice is large") // .ci/skips names it
	}
	need(t, "soffice")
	a, b := rig.Pair(t, nil)
	onA, onB := newLooker(t, a), newLooker(t, b)
	cmd := a.Command(t.Context(), python, "-u", "-c", office, rig.Scratch(t, "office"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	said := bufio.NewReader(out)
	do := func(command ...string) (answer string) {
		t.Helper()
		if _, err := io.WriteString(in, strings.Join(command, "\t")+"\n"); err != nil {
			t.Fatal(err)
		}
		for {
			line, err := said.ReadString('\n')
			if err != nil {
				t.Fatalf("office: %v: %s", command, err)
			}
			if line == "done\n" {
				return answer
			}
			answer += line
		}
	}

	lines := []string{"the first line", "the second line", "the third line", "the last line"}
	const bom = "\ufeff"
	kinds := map[string]string{"txt": "Text (encoded)", "fodt": "OpenDocument Text Flat XML"}
	a.Write("begin.txt", text(lines))
	each := func(f func(dir, kind, against string)) {
		for kind := range kinds {
			for i, against := range remotes {
				f(fmt.Sprintf("%s-%d", kind, i), kind, against)
			}
		}
	}
	each(func(dir, kind, against string) {
		a.Shell(`mkdir "$1"`, dir)
		do("make", a.Path(dir+"/f."+kind), a.Path("begin.txt"), kinds[kind])
	})
	before := sameTrees(t, a, b)
	each(func(dir, kind, _ string) { do("open", a.Path(dir+"/f."+kind), "", "mine of A") })
	nextSecond(t)
	each(func(dir, kind, against string) {
		f := dir + "/f." + kind
		switch {
		case against == renamed:
			b.Shell(`mv "$1" "$2"`, f, dir+"/renamed."+kind)
		case against == removed:
			b.Shell(`rm "$1"`, f)
		case against == paragraph:
			b.Shell(`sed -i 's/the first line/the first line of B/' "$1"`, f)
		default:
			b.Shell(`sed -i 's/the last line/the very last line of B/' "$1"`, f)
		}
	})
	if sameTrees(t, a, b) == before {
		t.Fatal("b has changed nothing")
	}
	// It asks where the file is gone, and without a window takes that for a no.
	for asked := range strings.Lines(do("save", "", "", "")) {
		if !strings.Contains(asked, "-2/") && !strings.Contains(asked, "-3/") {
			t.Errorf("it asks or fails: %s", asked)
		}
	}

	each(func(dir, kind, against string) {
		t.Run(kind+" against "+against, func(t *testing.T) {
			for _, l := range []*looker{onA, onB} {
				rig.Until(t, "both changes", func() error {
					files, err := l.files(dir)
					if err != nil {
						return err
					}
					now, ok := files["f."+kind]
					switch {
					case against == renamed || against == removed:
						if ok {
							return fmt.Errorf("f.%s was saved without asking", kind)
						}
						return nil
					case !ok:
						return fmt.Errorf("no f.%s", kind)
					}
					want := slices.Clone(lines)
					switch against {
					case elsewhere:
						want[3] = "the very last line of B"
					case paragraph:
						want[0] = "the first line of B"
					}
					want = insert(want, 1, "mine of A")
					if kind == "txt" {
						return rig.SameText(strings.TrimPrefix(now, bom), text(want))
					}
					return rig.SameText(paragraphs(now), text(want))
				})
			}
		})
	})
	sameTrees(t, a, b)
}

// paragraphs are the texts of the paragraphs of a document in XML; what is not
// well-formed ends in the error.
func paragraphs(doc string) string {
	var out strings.Builder
	d := xml.NewDecoder(strings.NewReader(doc))
	inside := false
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			return out.String() + err.Error()
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			inside = inside || tok.Name.Local == "p"
		case xml.EndElement:
			if tok.Name.Local == "p" {
				inside = false
				out.WriteByte('\n')
			}
		case xml.CharData:
			if inside {
				out.Write(tok)
			}
		}
	}
}
