package integration

import (
	"archive/zip"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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
// then it saves. A text merges, also one in XML; of an .odt, which is a zip archive, both
// versions are there on both devices, B's beside A's.
func TestOffice(t *testing.T) {
	if os.Getenv("SHEAF_OFFICE") == "" {
		t.Skip("SHEAF_OFFICE is not set: LibreOffice is large") // .ci/skips names it
	}
	need(t, "soffice")
	a, b := rig.Pair(t, nil)
	onA, onB := newLooker(t, a), newLooker(t, b)
	cmd := a.Command(context.WithoutCancel(t.Context()), python, "-u", "-c", office, rig.Scratch(t, "office"))
	cmd.Stderr = os.Stderr
	program := rig.StartTalk(t, cmd)
	program.Patience = 2 * time.Minute // it starts slowly
	do := func(command ...string) (answer string) {
		t.Helper()
		line, err := program.Ask(strings.Join(command, "\t"))
		for ; err == nil && line != "done"; line, err = program.Hear() {
			answer += line + "\n"
		}
		if err != nil {
			t.Fatalf("office: %v: %s", command, err)
		}
		return answer
	}

	lines := []string{"the first line", "the second line", "the third line", "the last line"}
	const bom = "\ufeff"
	kinds := map[string]string{"txt": "Text (encoded)", "fodt": "OpenDocument Text Flat XML", "odt": "writer8"}
	a.Write("begin.txt", text(lines))
	changes := map[string][2]string{paragraph: {"the first line", "the first line of B"}, elsewhere: {"the last line", "the very last line of B"}}
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
		case kind == "odt":
			b.Shell(`exec `+python+` -c "$1" "$2" "$3" "$4"`, rezip, f, changes[against][0], changes[against][1])
		default:
			b.Shell(`sed -i "s/$2/$3/" "$1"`, f, changes[against][0], changes[against][1])
		}
	})
	if sameTrees(t, a, b) == before {
		t.Fatal("b has changed nothing")
	}
	// It asks where a text is gone, and without a window takes that for a no.
	for asked := range strings.Lines(do("save", "", "", "")) {
		if strings.Contains(asked, "/f.odt") || !strings.Contains(asked, "-2/") && !strings.Contains(asked, "-3/") {
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
					case kind == "odt":
						return rig.SameText(unzipped(files), odtWanted(against, lines, changes))
					case against == renamed || against == removed:
						if ok {
							return fmt.Errorf("f.%s was saved without asking", kind)
						}
						return nil
					case !ok:
						return fmt.Errorf("no f.%s", kind)
					}
					want := text(insert(withChange(lines, changes[against]), 1, "mine of A"))
					if kind == "txt" {
						return rig.SameText(strings.TrimPrefix(now, bom), want)
					}
					return rig.SameText(paragraphs(now), want)
				})
			}
		})
	})
	sameTrees(t, a, b)
}

// rezip changes a text in a document that is a zip archive, and writes it by a rename as
// LibreOffice does.
const rezip = `
import os, sys, zipfile
f, old, new = sys.argv[1:]
with zipfile.ZipFile(f) as a, zipfile.ZipFile(f + ".tmp", "w") as b:
    for i in a.infolist():
        data = a.read(i)
        if i.filename == "content.xml":
            assert old.encode() in data
            data = data.replace(old.encode(), new.encode())
        b.writestr(i, data)
os.rename(f + ".tmp", f)`

// withChange gives lines with one of them changed.
func withChange(lines []string, change [2]string) []string {
	lines = slices.Clone(lines)
	for i, l := range lines {
		if l == change[0] {
			lines[i] = change[1]
		}
	}
	return lines
}

// odtWanted are the texts of a directory's documents in the end: what A saved, beside what
// B has. Where the name is gone LibreOffice makes it anew, and does not ask.
func odtWanted(against string, lines []string, changes map[string][2]string) string {
	all := []string{text(insert(lines, 1, "mine of A"))}
	if against != removed {
		all = append(all, text(withChange(lines, changes[against])))
	}
	slices.Sort(all)
	return strings.Join(all, "--- and\n")
}

// unzipped are the texts of documents that are zip archives; what is wrong with one ends
// in the error.
func unzipped(files map[string]string) string {
	var all []string
	for _, doc := range files {
		var b []byte
		z, err := zip.NewReader(strings.NewReader(doc), int64(len(doc)))
		if err == nil {
			b, err = fs.ReadFile(z, "content.xml")
		}
		if err != nil {
			b = []byte(err.Error())
		}
		all = append(all, paragraphs(string(b)))
	}
	slices.Sort(all)
	return strings.Join(all, "--- and\n")
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
