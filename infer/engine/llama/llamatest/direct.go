// Package llamatest calls the library directly, without child, mount or folder:
// what benchmarks of answers are compared with.
package llamatest

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/infer/engine/llama/internal/native"
	"github.com/sheaf-fs/sheaf/infer/model/modeltest"
)

// Direct is the model that tests use, in this process. Its methods run on the
// goroutine that made it, which keeps its thread until the test ends.
type Direct struct {
	tb    testing.TB
	model *native.Model
}

// Load loads the model with a context of so many tokens, for so many threads, at the
// priority nice of the child that it is compared with. The test is skipped without one.
func Load(tb testing.TB, context, threads, nice int) *Direct {
	tb.Helper()
	store := modeltest.Store(tb)
	lib, err := store.Library()
	if err != nil {
		tb.Fatal(err)
	}
	list, err := store.List()
	if err != nil {
		tb.Fatal(err)
	}
	path := ""
	for _, i := range list {
		if i.Chosen {
			path = i.Path
		}
	}
	runtime.LockOSThread()
	tb.Cleanup(runtime.UnlockOSThread)
	was, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil && nice > 0 {
		// The library's threads are begun by this one and inherit it.
		unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
		tb.Cleanup(func() { unix.Setpriority(unix.PRIO_PROCESS, 0, 20-was) })
	}
	m, err := native.Load(native.Config{Library: lib, Model: path, Context: context, Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	m.Abortable(false)
	return &Direct{tb, m}
}

// Threads sets how many threads compute.
func (d *Direct) Threads(n int) { d.model.SetThreads(n) }

// Prompt returns the tokens of a conversation in the model's template; system may be
// empty, and the turns are a person's and the model's by turns.
func (d *Direct) Prompt(system string, turns ...string) (prompt []int32) {
	var said []native.Message
	if system != "" {
		said = append(said, native.Message{Role: "system", Text: system})
	}
	for i, text := range turns {
		said = append(said, native.Message{Role: [2]string{"user", "assistant"}[i%2], Text: text})
	}
	rendered, _ := d.model.Render(said)
	for rest := rendered; rest != ""; {
		at, control := len(rest), native.Control{}
		for _, c := range d.model.Controls() {
			if i := strings.Index(rest, c.Text); i >= 0 && i < at {
				at, control = i, c
			}
		}
		prompt = append(prompt, d.model.Tokenize(rest[:at])...)
		if control.Text != "" {
			prompt = append(prompt, control.ID)
		}
		rest = rest[at+len(control.Text):]
	}
	return prompt
}

// Answer answers a prompt of which so many tokens are computed already (Answer was
// called with a prompt that begins so), greedily, and returns how long the first token
// took and each that followed.
func (d *Direct) Answer(prompt []int32, computed, tokens int) (first time.Duration, rest []time.Duration) {
	d.tb.Helper()
	start := time.Now()
	d.model.Rewind(computed)
	if err := d.model.Eval(prompt[computed:]); err != nil {
		d.tb.Fatal(err)
	}
	d.model.Sampling(0, 0)
	id, err := d.model.Sample()
	last := time.Now()
	first = last.Sub(start)
	for i := 1; i < tokens && err == nil; i++ {
		if err = d.model.Eval([]int32{id}); err == nil {
			id, err = d.model.Sample()
		}
		now := time.Now()
		rest, last = append(rest, now.Sub(last)), now
	}
	if err != nil {
		d.tb.Fatal(err)
	}
	return first, rest
}

// Common returns with how many equal tokens two prompts begin.
func Common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
