package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// looker lists directories of a device's folder from a process of its own, since one
// that looks into a mount that hangs cannot be ended.
type looker struct {
	mu   sync.Mutex
	talk *rig.Talk
}

func newLooker(t *testing.T, d *rig.Device) *looker {
	t.Helper()
	cmd := rig.StartRole("look")
	cmd.Dir = d.Point
	return &looker{talk: rig.StartTalk(t, cmd)}
}

// files gives the files of a directory with their content, those aside whose names begin with
// a dot, which editors keep for themselves; what cannot be read has an
// error in its place.
func (l *looker) files(dir string) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, err := l.talk.Ask(dir)
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", dir, err)
	}
	var got map[string][]byte
	err = json.Unmarshal([]byte(line), &got)
	files := map[string]string{}
	for name, b := range got {
		files[name] = string(b)
	}
	return files, err
}

// look is the role of the other process: for each line, a directory, it prints its files.
func look([]string) int {
	sc := bufio.NewScanner(os.Stdin)
	for sc.Scan() {
		files := map[string][]byte{}
		list, err := os.ReadDir(sc.Text())
		if err != nil {
			files["."] = []byte(err.Error())
		}
		for _, e := range list {
			if e.IsDir() || strings.HasPrefix(e.Name(), ".") { // editors' own
				continue
			}
			b, err := os.ReadFile(filepath.Join(sc.Text(), e.Name()))
			if err != nil {
				b = []byte(err.Error())
			}
			files[e.Name()] = b
		}
		b, err := json.Marshal(files)
		if err != nil {
			return 1
		}
		fmt.Println(string(b))
	}
	return 0
}
