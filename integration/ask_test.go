package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/infer/model/modeltest"
	"github.com/sheaf-fs/sheaf/integration/rig"
)

// answerWithin is how long a small model on a busy machine may take.
const answerWithin = 90 * time.Second

// withModel has the devices use the library and the model that make models fetched.
// Their network leads nowhere, so what answers is here.
func withModel(t *testing.T) func(*rig.Device) {
	dir := modeltest.Store(t).Dir()
	return func(d *rig.Device) { d.Env = append(d.Env, "SHEAF_MODELS="+dir, "SHEAF_SERVERS=off") }
}

// answered waits for the end of a file's first answer on a device, and returns it.
func answered(t *testing.T, d *rig.Device, rel string) (answer string) {
	t.Helper()
	rig.UntilIn(t, answerWithin, d.Name+" has an answer in "+rel, func() error {
		text, err := d.Read(rel)
		if err != nil {
			return err
		}
		_, below, ok := strings.Cut(text, "\n## Model (smollm2-135m on a)\n\n")
		if !ok || !strings.HasSuffix(text, "\n\n## You\n") {
			return fmt.Errorf("it has: %q", text)
		}
		answer = strings.TrimSuffix(below, "\n\n## You\n")
		return nil
	})
	return answer
}

// A question saved on one device is answered in the file, on both, by the embedded model.
func TestAsk(t *testing.T) {
	a, b := rig.Pair(t, rig.NewNet(t), withModel(t))
	a.Write("plan.md", "The boat leaves from Hamburg at noon.\n")
	a.Write("q.ask", "---\ntemperature: 0\nmax_tokens: 40\n---\nFrom where does the boat leave? See @plan.md\n")
	answer := answered(t, a, "q.ask")
	if !strings.Contains(answer, "> sheaf: read plan.md (") {
		t.Errorf("the answer does not say what was read: %q", answer)
	}
	text, err := a.Read("q.ask")
	if err != nil {
		t.Fatal(err)
	}
	rig.Sees(t, "q.ask", text, a, b)
	if log := b.Sheaf("log", b.Path("q.ask")); !strings.Contains(log, "smollm2-135m on a") {
		t.Errorf("the history on b does not name the model:\n%s", log)
	}

	// The same question to a model that has just been loaded has the same answer.
	a.Sheaf("down")
	a.Sheaf("up")
	a.Write("again.ask", "---\ntemperature: 0\nmax_tokens: 40\n---\nFrom where does the boat leave? See @plan.md\n")
	if again := answered(t, a, "again.ask"); again != answer {
		t.Errorf("asked again:\n%q\nafter:\n%q", again, answer)
	}

	// While it is written, people go on typing above it, on both devices.
	a.Write("long.ask", "---\ntemperature: 0\nmax_tokens: 120\n---\nCount from one to fifty, in words.\n")
	rig.UntilIn(t, answerWithin, "a begins", func() error {
		if text, err := b.Read("long.ask"); err != nil || !strings.Contains(text, "## Model (smollm2-135m on a") {
			return fmt.Errorf("%q, %w", text, err)
		}
		return nil
	})
	a.Shell(`sed -i 's/^temperature: 0$/temperature: 0 # typed on a/' long.ask`)
	b.Shell(`sed -i 's/^max_tokens: 120$/max_tokens: 120 # typed on b/' long.ask`)
	rig.UntilIn(t, answerWithin, "the answer and both changes are on both", func() error {
		for _, d := range []*rig.Device{a, b} {
			text, err := d.Read("long.ask")
			if err != nil {
				return err
			}
			for _, want := range []string{"# typed on a\n", "# typed on b\n", "\nCount from one to fifty, in words.\n", "## Model (smollm2-135m on a)\n", "\n## You\n"} {
				if strings.Count(text, want) != 1 {
					return fmt.Errorf("%s has %q not once: %q", d.Name, want, text)
				}
			}
		}
		return nil
	})
	sameTrees(t, a, b)
}
