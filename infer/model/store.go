package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sheaf-fs/sheaf/infer/model/gguf"
)

// Store is the directory of a device's library and models. Several processes
// may use one: what they change appears by rename, and fetching locks.
type Store struct {
	dir   string
	items []item
	look  func(string) (string, error) // finds a client; exec.LookPath
}

// Open returns the store in a directory, which is made when something is fetched.
func Open(dir string) *Store { return &Store{dir: dir, items: catalogue, look: lookPath} }

// Dir returns the store's directory.
func (s *Store) Dir() string { return s.dir }

// Entry is something to fetch or use. Sizes are in bytes.
type Entry struct {
	ID          string `json:"id"`
	Kind        Kind   `json:"kind"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	License     string `json:"license,omitempty"`
	Source      string `json:"source"` // registry, package and version; or the path of a person's own file
	SHA256      string `json:"sha256,omitempty"`
	Download    int64  `json:"download,omitempty"` // what fetching transfers
	Size        int64  `json:"size"`               // on disk
	Here        bool   `json:"here"`               // usable now
	Own         bool   `json:"own,omitempty"`      // a person's own file
	Chosen      bool   `json:"chosen,omitempty"`   // the model that is used by default
	Path        string `json:"path,omitempty"`     // of the model file or the library's directory
	Problem     string `json:"problem,omitempty"`  // why it is not usable, if it should be
}

// state is what a person decided, in state.json.
type state struct {
	Chosen string `json:"chosen,omitempty"`
	Own    []own  `json:"own,omitempty"`
}

type own struct {
	Name        string `json:"name"`
	Path        string `json:"path"`
	Description string `json:"description,omitempty"`
	License     string `json:"license,omitempty"`
}

// manifest is what was unpacked, in manifest.json beside it.
type manifest struct {
	Package string `json:"package"` // SHA-256
	Files   []file `json:"files"`
}

type file struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func (s *Store) home(i item) string { return filepath.Join(s.dir, i.id+"-"+i.source.version) }

func (s *Store) find(id string) (item, bool) {
	n := slices.IndexFunc(s.items, func(i item) bool { return i.id == id })
	if n < 0 {
		return item{}, false
	}
	return s.items[n], true
}

// List returns the catalogue, then a person's own models. The model that is
// used by default is marked; one that was never chosen is the first that is here.
func (s *Store) List() ([]Entry, error) {
	st, err := s.load()
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, i := range s.items {
		e := Entry{ID: i.id, Kind: i.kind, Title: i.title, Description: i.description, License: i.license,
			Source: i.source.String(), SHA256: i.source.sha256, Download: i.source.size, Size: i.size}
		switch _, err := s.present(i); {
		case err == nil:
			e.Here, e.Path = true, s.home(i)
			if i.kind == Model {
				e.Path = filepath.Join(e.Path, i.gguf)
			}
		case errors.Is(err, ErrPlatform), !errors.Is(err, ErrMissing):
			e.Problem = err.Error()
		}
		out = append(out, e)
	}
	for _, o := range st.Own {
		e := Entry{ID: o.Name, Kind: Model, Title: o.Name, Description: o.Description, License: o.License, Source: o.Path, Own: true, Path: o.Path}
		if info, err := os.Stat(o.Path); err != nil {
			e.Problem = err.Error()
		} else {
			e.Here, e.Size = true, info.Size()
		}
		out = append(out, e)
	}
	chosen := slices.IndexFunc(out, func(e Entry) bool { return e.Kind == Model && e.ID == st.Chosen })
	if chosen < 0 {
		chosen = slices.IndexFunc(out, func(e Entry) bool { return e.Kind == Model && e.Here })
	}
	if chosen >= 0 {
		out[chosen].Chosen = true
	}
	return out, nil
}

// present reads an item's manifest and looks whether its files are there.
func (s *Store) present(i item) (manifest, error) {
	var m manifest
	if !i.runsHere() {
		return m, &Error{Op: "use", Name: i.id, Kind: ErrPlatform, Err: fmt.Errorf("it runs on %s", i.platform)}
	}
	b, err := os.ReadFile(filepath.Join(s.home(i), manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, &Error{Op: "use", Name: i.id, Kind: ErrMissing, Hint: "sheaf model fetch " + i.id}
	}
	if err != nil {
		return m, err
	}
	damaged := func(err error) error {
		return &Error{Op: "use", Name: i.id, Kind: ErrHash, Err: err, Hint: "sheaf model fetch " + i.id + " puts it right"}
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Package != i.source.sha256 {
		return m, damaged(errors.New("its manifest is damaged"))
	}
	for _, f := range m.Files {
		info, err := os.Stat(filepath.Join(s.home(i), filepath.Base(f.Name)))
		if err != nil {
			return m, damaged(err)
		}
		if info.Size() != f.Size {
			return m, damaged(fmt.Errorf("%s has %d bytes instead of %d", f.Name, info.Size(), f.Size))
		}
	}
	return m, nil
}

// Check reads every byte of a fetched item and compares it with what was
// unpacked.
func (s *Store) Check(id string) error {
	i, ok := s.find(id)
	if !ok {
		return &Error{Op: "check", Name: id, Kind: ErrUnknown}
	}
	m, err := s.present(i)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		sum, err := hashFile(filepath.Join(s.home(i), filepath.Base(f.Name)))
		if err != nil {
			return err
		}
		if sum != f.SHA256 {
			return &Error{Op: "check", Name: i.id, Kind: ErrHash, Err: fmt.Errorf("%s was changed", f.Name), Hint: "sheaf model fetch " + i.id + " puts it right"}
		}
	}
	return nil
}

// Library returns the directory of the library, with every byte of it checked:
// it is about to be run.
func (s *Store) Library() (string, error) {
	for _, i := range s.items {
		if i.kind == Library && i.runsHere() {
			if err := s.Check(i.id); err != nil {
				return "", err
			}
			return s.home(i), nil
		}
	}
	return "", &Error{Op: "use", Name: string(Library), Kind: ErrPlatform, Hint: "a server such as Ollama works on any machine"}
}

// Default returns the items that make the embedded engine work and are not here.
func (s *Store) Default() ([]Entry, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var out []Entry
	seen := map[Kind]bool{}
	for _, e := range list {
		if e.Here {
			seen[e.Kind] = true
		}
	}
	for _, e := range list {
		if i, ok := s.find(e.ID); ok && i.runsHere() && !seen[e.Kind] {
			seen[e.Kind] = true
			out = append(out, e)
		}
	}
	return out, nil
}

// Decided tells whether a person said which model is used (Use).
func (s *Store) Decided() bool {
	st, err := s.load()
	return err == nil && st.Chosen != ""
}

// Use makes a model the default: one of the list, or a GGUF file anywhere on
// this machine, whose head is read first. It returns the model's name.
func (s *Store) Use(nameOrPath string) (string, error) {
	st, err := s.load()
	if err != nil {
		return "", err
	}
	name, err := s.choose(&st, nameOrPath)
	if err != nil {
		return "", err
	}
	st.Chosen = name
	return name, s.save(st)
}

func (s *Store) choose(st *state, nameOrPath string) (string, error) {
	if i, ok := s.find(nameOrPath); ok {
		if i.kind != Model {
			return "", &Error{Op: "use", Name: nameOrPath, Kind: ErrModel, Err: errors.New("it is the library")}
		}
		_, err := s.present(i)
		return i.id, err
	}
	if slices.ContainsFunc(st.Own, func(o own) bool { return o.Name == nameOrPath }) {
		return nameOrPath, nil
	}
	if !strings.ContainsRune(nameOrPath, filepath.Separator) && !strings.HasSuffix(nameOrPath, ".gguf") {
		return "", &Error{Op: "use", Name: nameOrPath, Kind: ErrUnknown, Hint: "sheaf model list shows what there is; a file is given by its path"}
	}
	path, err := filepath.Abs(nameOrPath)
	if err != nil {
		return "", err
	}
	info, err := gguf.Read(path)
	if err != nil {
		return "", &Error{Op: "use", Name: nameOrPath, Kind: ErrModel, Err: err}
	}
	for _, o := range st.Own {
		if o.Path == path {
			return o.Name, nil
		}
	}
	o := own{Path: path, Description: info.Description(), License: info.License}
	base := strings.TrimSuffix(filepath.Base(path), ".gguf")
	o.Name = base
	for n := 2; s.taken(st, o.Name); n++ {
		o.Name = fmt.Sprintf("%s-%d", base, n)
	}
	st.Own = append(st.Own, o)
	return o.Name, nil
}

func (s *Store) taken(st *state, name string) bool {
	_, ok := s.find(name)
	return ok || slices.ContainsFunc(st.Own, func(o own) bool { return o.Name == name })
}

// Remove deletes a fetched item, or forgets a person's own file.
func (s *Store) Remove(id string) error {
	st, err := s.load()
	if err != nil {
		return err
	}
	if n := slices.IndexFunc(st.Own, func(o own) bool { return o.Name == id }); n >= 0 {
		st.Own = slices.Delete(st.Own, n, n+1)
	} else if i, ok := s.find(id); ok {
		unlock, err := s.lock(id)
		if err != nil {
			return err
		}
		defer unlock()
		if _, err := os.Stat(s.home(i)); err != nil {
			return &Error{Op: "remove", Name: id, Kind: ErrMissing}
		}
		// Out of sight in one step, then bit by bit.
		away := filepath.Join(s.dir, partialName, "removed-"+filepath.Base(s.home(i)))
		if err := os.MkdirAll(filepath.Dir(away), 0o700); err != nil {
			return err
		}
		if err := os.RemoveAll(away); err != nil {
			return err
		}
		if err := os.Rename(s.home(i), away); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(s.dir, partialName)); err != nil {
			return err
		}
	} else {
		return &Error{Op: "remove", Name: id, Kind: ErrUnknown, Hint: "sheaf model list shows what there is"}
	}
	if st.Chosen == id {
		st.Chosen = ""
	}
	return s.save(st)
}

const (
	manifestName = "manifest.json"
	stateName    = "state.json"
	partialName  = "partial"
	lockName     = "lock"
)

func (s *Store) load() (state, error) {
	var st state
	path := filepath.Join(s.dir, stateName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("%s: %w", path, err)
	}
	return st, nil
}

func (s *Store) save(st state) error {
	b, err := json.MarshalIndent(st, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(s.dir, stateName), append(b, '\n'))
}
