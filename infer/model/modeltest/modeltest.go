// Package modeltest finds the library, the model and the server that tests run
// for real.
//
// They are fetched by infer/model/modeltest/fetch, once a machine, into the
// directory that SHEAF_MODELS names or into the user's cache. A test that needs
// them and does not find them is skipped, and says how to get them.
package modeltest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sheaf-fs/sheaf/infer/model"
)

// Env names the environment variable with the directory.
const Env = "SHEAF_MODELS"

// Dir returns the directory, which need not exist.
func Dir() (string, error) {
	if dir := os.Getenv(Env); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "sheaf", "models"), err
}

// Store returns the tests' store, or skips the test.
func Store(tb testing.TB) *model.Store {
	tb.Helper()
	dir, err := Dir()
	if err != nil {
		tb.Skip(err)
	}
	s := model.Open(dir)
	missing, err := s.Default()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Library(); err != nil || len(missing) > 0 {
		tb.Skipf("no library or model in %s (make models fetches them): %v", dir, err)
	}
	return s
}
