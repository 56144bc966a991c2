//go:build !(linux && amd64)

package native

import (
	"fmt"
	"runtime"
)

// MaxBatch is how many tokens Eval takes at once.
const MaxBatch = 512

// Model cannot be loaded here.
type Model struct{ unsupported }

type unsupported interface {
	Version() string
	Description() string
	ContextSize() int
	Steps() uint64
	Stop(bool)
	Abortable(bool)
	SetThreads(int)
	Eval([]int32) error
	Rewind(int) int
	State() []byte
	SetState([]byte) bool
	Sampling(float64, uint32)
	Sample() (int32, error)
	IsEnd(int32) bool
	BOS() (int32, bool)
	Controls() []Control
	Tokenize(string) []int32
	Piece(int32) []byte
	Render([]Message) (string, bool)
}

// Load fails: the structures are checked for one platform only.
func Load(Config) (*Model, error) {
	return nil, fmt.Errorf("%w: there is none for %s/%s", ErrLibrary, runtime.GOOS, runtime.GOARCH)
}
