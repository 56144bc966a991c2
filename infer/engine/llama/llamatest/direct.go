// Package llamatest calls the library directly, without child, mount or folder:
// what benchmarks of answers are compared with.
package llamatest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/infer/engine/llama/internal/native"
	"github.com/sheaf-fs/sheaf/infer/model/modeltest"
)

// Direct is the model that tests use, in this process.
type Direct struct {
	tb    testing.TB
	nice  int
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
	d := &Direct{nice: nice}
	d.Use(tb)
	m, err := native.Load(native.Config{Library: lib, Model: path, Context: context, Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	m.Abortable(false)
	d.model = m
	return d
}

// Use has the calling goroutine, of the test or benchmark tb, call the model until tb ends.
// It keeps its thread, which computes and has the child's priority.
func (d *Direct) Use(tb testing.TB) {
	tb.Helper()
	before := d.tb
	d.tb = tb
	runtime.LockOSThread()
	was, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil && d.nice > 0 {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-was+d.nice)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if d.nice > 0 {
			unix.Setpriority(unix.PRIO_PROCESS, 0, 20-was)
		}
		runtime.UnlockOSThread()
		d.tb = before
	})
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

// Times are what the tokens of an answer took, one by one.
type Times struct {
	First time.Duration
	Rest  []time.Duration
}

// Patience is how long one answer may take. Where other programs use the cores that its
// threads wait for each other on, it would take minutes, and be no figure of anything.
const Patience = 20 * time.Second

// Answer answers a prompt of which so many tokens are computed already (Answer was
// called with a prompt that begins so), greedily, and returns how long the first token
// took and each that followed: so many, or fewer where the answer ends. The test is
// skipped when Patience is over.
func (d *Direct) Answer(prompt []int32, computed, tokens int) Times {
	d.tb.Helper()
	start := time.Now()
	d.Compute(prompt, computed)
	d.model.Sampling(0, 0)
	id, err := d.model.Sample()
	last := time.Now()
	t := Times{First: last.Sub(start)}
	for i := 1; i < tokens && err == nil && !d.model.IsEnd(id); i++ {
		if time.Since(start) > Patience {
			NotMeasured(d.tb, fmt.Sprintf("%d tokens", i))
		}
		if err = d.model.Eval([]int32{id}); err == nil {
			id, err = d.model.Sample()
		}
		now := time.Now()
		t.Rest, last = append(t.Rest, now.Sub(last)), now
	}
	if err != nil {
		d.tb.Fatal(err)
	}
	return t
}

// Compute reads what is new of a prompt, and makes no answer. It is as impatient as Answer.
func (d *Direct) Compute(prompt []int32, computed int) {
	d.tb.Helper()
	d.model.Rewind(computed)
	if computed == len(prompt) {
		return
	}
	d.model.Stop(false)
	d.model.Abortable(true)
	defer d.model.Abortable(false)
	timer := time.AfterFunc(Patience, func() { d.model.Stop(true) })
	defer timer.Stop()
	switch err := d.model.Eval(prompt[computed:]); {
	case errors.Is(err, native.ErrAborted):
		NotMeasured(d.tb, fmt.Sprintf("a prompt of %d tokens", len(prompt)))
	case err != nil:
		d.tb.Fatal(err)
	}
}

// Common returns with how many equal tokens two prompts begin.
func Common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
