package plain

import (
	"bufio"
	"os/exec"
	"testing"
)

// A database that a program has open stays what it was on the other device, which never sees
// what SQLite keeps beside it, and gets what the program left in the end.
func TestDatabase(t *testing.T) {
	a, b := pair(t)
	writer := exec.Command("python3", "-c", `
import sqlite3, sys
c = sqlite3.connect("x.db")
c.execute("pragma journal_mode=wal")
c.execute("create table t (line text)")
c.execute("insert into t values ('in the log')")
c.commit()
print("open", flush=True)
sys.stdin.read(1)
c.close()
`)
	writer.Dir = a.root
	in, err := writer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "open\n" {
		t.Fatalf("the program says %q, %v", said, err)
	}
	a.write("notes-wal", "beside no database\n")
	const others = "notes-wal \"beside no database\\n\"\n"
	eventually(t, "the other file is there", func() bool {
		a.flush()
		a.send(b)
		return b.shown() == others
	})
	a.flush()
	if got := a.shown(); got != others {
		t.Errorf("while it is open the folder has %d bytes more", len(got)-len(others))
	}
	in.Close()
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
	meet(t, a, b)
	check := exec.Command("python3", "-c", `import sqlite3; print(sqlite3.connect("x.db").execute("select line from t").fetchall())`)
	check.Dir = b.root
	if got, err := check.CombinedOutput(); err != nil || string(got) != "[('in the log',)]\n" {
		t.Errorf("the other device reads %s, %v", got, err)
	}
}
