package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// holding is a program that opens files for reading and writing and keeps them: for each line,
// a command in JSON, it says what came of it. Commands name a file by the number given to open.
const holding = `
import errno, json, mmap, os, sys
fds, maps = {}, {}
def open_(n, path, append): fds[n] = os.open(path, os.O_RDWR | (os.O_APPEND if append else 0))
def read(n, size):
    got = b""
    while len(got) < size and (piece := os.read(fds[n], min(4096, size - len(got)))): got += piece
    return got.decode("latin-1")
def content(n):
    os.lseek(fds[n], 0, os.SEEK_SET)
    return read(n, 1 << 20)
def stat(n):
    os.fchmod(fds[n], os.fstat(fds[n]).st_mode & 0o7777)
    os.utime(fds[n])
def whole(n, size):
    if n != size: raise OSError(errno.EIO, "written in part")
def put(n, at, text):
    text = text.encode("latin-1")
    whole(os.pwrite(fds[n], text, at), len(text))
def rewrite(n, text):
    os.ftruncate(fds[n], 0)
    put(n, 0, text)
def cut(n, size): os.ftruncate(fds[n], size)
def append(n, text):
    text = text.encode("latin-1")
    os.lseek(fds[n], 0, os.SEEK_END)
    whole(os.write(fds[n], text), len(text))
def map_(n): maps[n] = mmap.mmap(fds[n], 0)
def replace(n, old, new): # through the mapping
    m, old, new = maps[n], old.encode("latin-1"), new.encode("latin-1")
    at = m.find(old)
    m[at:at+len(old)] = new
    m.flush()
def close(n):
    if n in maps: maps.pop(n).close()
    os.close(fds.pop(n))
calls = dict(open=open_, read=read, content=content, stat=stat, put=put, rewrite=rewrite, cut=cut, append=append, map=map_, replace=replace, close=close)
for line in sys.stdin:
    call, *args = json.loads(line)
    try: said = dict(got=calls[call](*args))
    except OSError as e: said = dict(error=errno.errorcode[e.errno])
    print(json.dumps(said), flush=True)
`

// holder is such a program.
type holder struct{ talk *rig.Talk }

func newHolder(t *testing.T, d *rig.Device) *holder {
	t.Helper()
	cmd := d.Command(t.Context(), python, "-c", holding)
	cmd.Dir, cmd.Stderr = d.Point, os.Stderr
	return &holder{rig.StartTalk(t, cmd)}
}

// try has a command done, and gives what came of it.
func (h *holder) try(command ...any) (string, error) {
	b, err := json.Marshal(command)
	if err != nil {
		return "", err
	}
	line, err := h.talk.Ask(string(b))
	if err != nil {
		return "", fmt.Errorf("%.60s: %w", b, err)
	}
	var said struct{ Got, Error string }
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		return "", err
	}
	if said.Error != "" {
		return "", errors.New(said.Error)
	}
	return said.Got, nil
}

// do is try for what must not fail.
func (h *holder) do(t *testing.T, command ...any) string {
	t.Helper()
	got, err := h.try(command...)
	if err != nil {
		t.Fatalf("%.60q: %v", fmt.Sprint(command...), err)
	}
	return got
}
