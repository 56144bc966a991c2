package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/choose"
	"github.com/sheaf-fs/sheaf/infer/engine/llama"
	"github.com/sheaf-fs/sheaf/infer/engine/server"
	"github.com/sheaf-fs/sheaf/infer/model"
)

const (
	modelsName = "models"      // directory in the home
	serverName = "server.json" // in it, the server that a person configured
)

// ModelsDir is the directory of a home's models: $SHEAF_MODELS, which several homes may
// share, else in the home.
func ModelsDir(home string) string {
	if dir := os.Getenv("SHEAF_MODELS"); dir != "" {
		return dir
	}
	return filepath.Join(home, modelsName)
}

// Server is the server that a person configured, zero if none.
func Server(dir string) (choose.Server, error) {
	var s choose.Server
	path := filepath.Join(dir, serverName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// SetServer remembers the server that a person configured; the zero Server forgets it.
func SetServer(dir string, s choose.Server) error {
	path := filepath.Join(dir, serverName)
	if s == (choose.Server{}) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// A daemon may read it at any moment.
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Detect returns the servers on this machine, unless SHEAF_SERVERS=off.
func Detect(ctx context.Context) []engine.Engine {
	if os.Getenv("SHEAF_SERVERS") == "off" {
		return nil
	}
	return server.Detect(ctx, 0, server.Options{})
}

// threads is how many the embedded engine computes with: $SHEAF_THREADS, else (0) as many
// as there are cores that nobody else uses.
func threads() int {
	n, err := strconv.Atoi(os.Getenv("SHEAF_THREADS"))
	if err != nil || n < 0 {
		return 0
	}
	return min(n, runtime.NumCPU())
}

// models are the models that this device can ask.
func models(home string) *choose.Engine {
	dir := ModelsDir(home)
	store := model.Open(dir)
	return choose.New(choose.Options{
		Configured: func() (choose.Server, error) { return Server(dir) },
		Connect: func(ctx context.Context, s choose.Server) (engine.Engine, error) {
			return server.Open(ctx, s.Address, server.Options{Key: s.Key})
		},
		Detect:    Detect,
		Embedded:  store.Engine(llama.Options{Threads: threads()}),
		Preferred: store.Decided,
	})
}
