package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sheaf-fs/sheaf/infer/engine/llama/llamatest"
	"github.com/sheaf-fs/sheaf/infer/model/modeltest"
	"github.com/sheaf-fs/sheaf/integration/rig"
)

// benchRounds is how often each is measured.
const benchRounds = 8

func millis(d time.Duration) float64 { return float64(d) / 1e6 }

func middle(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkAsk reports what an answer in a file on a mount costs beyond the same library
// called directly with the same model, prompt, threads and priority; how soon it ends
// when it is deleted; and what a running model costs a save. One thread computes.
func BenchmarkAsk(b *testing.B) {
	dir := modeltest.Store(b).Dir()
	a := rig.NewDevice(b, "a", nil)
	a.Env = append(a.Env, "SHEAF_MODELS="+dir, "SHEAF_SERVERS=off", "SHEAF_THREADS=1")
	a.Init()
	raw := llamatest.Load(b, 8192, 1, 5)
	a.Write("warm.ask", "---\nmax_tokens: 2\n---\nWhat?\n")
	rig.UntilIn(b, answerWithin, "the model is loaded", func() error { return whole(a, "warm.ask") })

	b.Run("first", func(b *testing.B) {
		raw.Use(b)
		for b.Loop() {
			var first, next turnTimes
			for i := range benchRounds {
				benchTurns(b, a, raw, i, &first, &next)
			}
			llamatest.AtMost(b, 30, first.over(), "ms", "close of the file to first words, over raw")
			llamatest.AtMost(b, 50, next.over(), "ms", "the same of a follow-up, over its new tokens")
		}
	})
	b.Run("cancel", func(b *testing.B) {
		for b.Loop() {
			var prompt, answer []time.Duration
			for i := range benchRounds {
				prompt = append(prompt, benchDelete(b, a, fmt.Sprintf("p%d.ask", i), strings.Repeat("Other text entirely. ", 600), "reading"))
				answer = append(answer, benchDelete(b, a, fmt.Sprintf("a%d.ask", i), "Count from one to a hundred, in words.", "answering"))
			}
			llamatest.AtMost(b, 50, millis(middle(prompt)), "ms", "file emptied to answer ended, in the prompt")
			llamatest.AtMost(b, 50, millis(middle(answer)), "ms", "file emptied to answer ended, in the answer")
		}
	})
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			idle := saveTimes(b, a)
			a.Write("long.ask", "---\ntemperature: 0\nmax_tokens: 400\n---\nCount from one to a hundred, in words, and explain each number.\n")
			words(b, a, "long.ask", 1)
			busy := saveTimes(b, a)
			if whole(a, "long.ask") == nil {
				b.Log("the answer ended before the saves did")
			}
			b.ReportMetric(float64(idle.Microseconds()), "idle-us")
			b.ReportMetric(float64(busy.Microseconds()), "busy-us")
			llamatest.AtMost(b, 1.5, float64(busy)/float64(idle), "times", "save while a model runs, of one while none runs")
		}
	})
}

// quietTime is how long a question is unchanged before it is asked.
const quietTime = time.Second

// turnTimes are what first words took in a file, and directly.
type turnTimes struct{ file, direct []time.Duration }

// over compares the quarters that other programs disturb least, in milliseconds.
func (t turnTimes) over() float64 {
	slices.Sort(t.file)
	slices.Sort(t.direct)
	return millis(t.file[len(t.file)/4] - t.direct[len(t.direct)/4])
}

// benchTurns asks a question and another one below the answer. It adds what the first
// words of each took after the file's close, less the second of quiet, and what the
// library takes for them, which has answered the first question before the second.
func benchTurns(b *testing.B, a *rig.Device, raw *llamatest.Direct, i int, first, next *turnTimes) {
	name := fmt.Sprintf("q%d.ask", i)
	system := fmt.Sprintf("Round %d. Answer briefly.", i)
	question := strings.Repeat("The keeper lit the lamp and wrote into his book. ", 10) + "What did he write?"
	const more = "And why did he write it?"

	put(b, a, name, fmt.Sprintf("---\nsystem: %s\ntemperature: 0\nmax_tokens: 30\n---\n%s\n", system, question))
	first.file = append(first.file, words(b, a, name, 1)-quietTime)
	text := ""
	rig.UntilIn(b, answerWithin, "the answer", func() error {
		// Read by this process, which is the one that writes it below.
		t, err := os.ReadFile(a.Path(name))
		if text = string(t); err == nil && !strings.Contains(text, "## Model (smollm2-135m on a)\n") {
			err = errNotYet
		}
		return err
	})
	_, answer, _ := strings.Cut(text, "## Model (smollm2-135m on a)\n\n")
	answer, _, _ = strings.Cut(answer, "\n\n> sheaf:")
	answer, _, _ = strings.Cut(answer, "\n\n## You")
	put(b, a, name, text+more+"\n")
	next.file = append(next.file, words(b, a, name, 2)-quietTime)
	rig.UntilIn(b, answerWithin, "the second answer", func() error {
		if s, err := a.Read(name); err != nil || strings.Count(s, "## Model (smollm2-135m on a)\n") != 2 {
			return fmt.Errorf("%w, %q", err, s)
		}
		return nil
	})

	prompt := raw.Prompt(system, question)
	first.direct = append(first.direct, raw.Answer(prompt, 0, 1).First)
	whole := raw.Prompt(system, question, answer, more)
	known := llamatest.Common(whole, raw.Prompt(system, question, answer))
	// The last token of an answer is not computed by who makes it.
	known = min(known, len(prompt)+len(raw.Answer(prompt, 0, 30).Rest))
	raw.Compute(whole[:known], len(prompt))
	next.direct = append(next.direct, raw.Answer(whole, known, 1).First)
}

// put writes a file in place.
func put(b *testing.B, d *rig.Device, rel, text string) {
	b.Helper()
	if err := os.WriteFile(d.Path(rel), []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// words waits for the first words of the n-th answer, and returns how long it took. It
// looks each millisecond at a file that it keeps open, as `tail` does: what did not
// change the kernel has, and so looking takes nothing from what is measured.
func words(b *testing.B, d *rig.Device, rel string, n int) time.Duration {
	b.Helper()
	began := time.Now()
	time.Sleep(350 * time.Millisecond) // the save has come to rest
	f, err := os.Open(d.Path(rel))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	rig.UntilIn(b, answerWithin, "the first words", func() error {
		for range 50 {
			k, err := f.ReadAt(buf, 0)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if strings.Count(string(buf[:k]), "\n## Model (") == n && strings.Contains(string(buf[:k]), ": answering)") {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
		return errNotYet
	})
	return time.Since(began)
}

var errNotYet = errors.New("not yet")

// benchDelete asks, empties the file once the answer is in a state, and returns how long it
// took until the answer had ended.
func benchDelete(b *testing.B, a *rig.Device, rel, question, state string) time.Duration {
	put(b, a, rel, "---\ntemperature: 0\nmax_tokens: 400\n---\n"+question+"\n")
	rig.UntilIn(b, answerWithin, rel+" is "+state, func() error {
		for range 50 {
			if text, err := os.ReadFile(a.Path(rel)); err != nil || strings.Contains(string(text), ": "+state) {
				return err
			}
			time.Sleep(time.Millisecond)
		}
		return errNotYet
	})
	put(b, a, rel, "\n")
	began := time.Now()
	rig.UntilIn(b, answerWithin, rel+" is cancelled", func() error {
		value := make([]byte, 64)
		for range 50 {
			n, err := unix.Getxattr(a.Path(rel), "user.sheaf.ask", value)
			if err == nil && string(value[:n]) == "cancelled" {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
		return errNotYet
	})
	return time.Since(began)
}

// saveTimes is the median of a hundred saves by one shell, which says how long they took.
func saveTimes(b *testing.B, d *rig.Device) time.Duration {
	var took []time.Duration
	out := d.Shell(`for i in $(seq 100); do s=$(date +%s%N); echo $i >other.md; e=$(date +%s%N); echo $((e-s)); done`)
	for f := range strings.FieldsSeq(out) {
		t, err := time.ParseDuration(f + "ns")
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, t)
	}
	return middle(took)
}

// whole tells why a file has no whole answer.
func whole(d *rig.Device, rel string) error {
	text, err := d.Read(rel)
	if err == nil && !strings.Contains(text, "## Model (smollm2-135m on a)\n") {
		err = fmt.Errorf("it has: %q", text)
	}
	return err
}

// BenchmarkAskElsewhere reports how long after it was sampled a token is seen in the mount
// of the other device. What samples is a server of this process, which knows when it did.
func BenchmarkAskElsewhere(b *testing.B) {
	const tokens = 150
	var mu sync.Mutex
	sampled := make([]time.Time, tokens)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"object":"list","data":[{"id":"clock"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range tokens {
			time.Sleep(10 * time.Millisecond)
			text, _ := json.Marshal(fmt.Sprintf("t%d. ", i))
			mu.Lock()
			sampled[i] = time.Now()
			mu.Unlock()
			fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%s}}]}\n\n", text)
			w.(http.Flusher).Flush()
		}
		fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: mux}
	go s.Serve(l)
	defer s.Close()
	a, far := rig.NewDevice(b, "a", nil), rig.NewDevice(b, "b", nil)
	a.Init()
	far.Join(a.Invite())
	a.Sheaf("model", "use", "http://"+l.Addr().String())
	for n := 0; b.Loop(); n++ {
		name := fmt.Sprintf("q%d.ask", n)
		put(b, a, name, "What time is it?\n")
		seen := make([]time.Duration, 0, tokens)
		rig.UntilIn(b, answerWithin, "every token", func() error {
			for range 50 {
				text, err := os.ReadFile(far.Path(name))
				now := time.Now()
				for err == nil && len(seen) < tokens && strings.Contains(string(text), fmt.Sprintf("t%d.", len(seen))) {
					mu.Lock()
					seen = append(seen, now.Sub(sampled[len(seen)]))
					mu.Unlock()
				}
				if len(seen) == tokens {
					return nil
				}
				time.Sleep(time.Millisecond)
			}
			return errNotYet
		})
		slices.Sort(seen)
		llamatest.AtMost(b, 100, millis(seen[tokens/2]), "ms", "token sampled to seen in the other mount, median")
		llamatest.AtMost(b, 100, millis(seen[tokens*95/100]), "ms", "token sampled to seen in the other mount, 95 %")
		llamatest.AtMost(b, 100, millis(seen[tokens-1]), "ms", "token sampled to seen in the other mount, longest of 150")
	}
}
