package integration

import (
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// What docs/ask.md tells people to type into their editors so that an answer appears
// while it is written.
var follow = map[string]string{
	"vim auto": ":set autoread | call timer_start(500, {-> execute('checktime')}, {'repeat': -1})\r",
	"neovim":   ":set autoread | call timer_start(500, {-> execute('checktime')}, {'repeat': -1})\r",
	"emacs":    "\x1b:(progn (setq auto-revert-verbose nil auto-revert-interval 0.5) (global-auto-revert-mode 1))\r",
}

// An editor that has the conversation open shows the answer with the setting of
// docs/ask.md, and without it keeps showing what its user wrote. Once the answer is
// whole its user can ask on, save without being asked anything, and nothing is lost.
func TestAskInEditor(t *testing.T) {
	for name, setting := range follow {
		for _, following := range []bool{true, false} {
			title := name
			if !following {
				title += " as it comes"
			}
			if title == "emacs as it comes" {
				continue // at the first key it asks whether to revert, as it always does
			}
			t.Run(title, func(t *testing.T) {
				a := rig.NewDevice(t, "a", nil)
				withModel(t)(a)
				a.Init()
				a.Write("q.ask", "---\ntemperature: 0\nmax_tokens: 60\n---\n")
				e := a.Edit(name, "q.ask", "temperature")
				if following {
					e.Type(setting)
				}
				e.Append("What is a sheaf of wheat?")
				e.Save()
				answer := answered(t, a, "q.ask")
				word, _, _ := strings.Cut(strings.TrimSpace(answer), "\n")
				word = word[:min(len(word), 30)]
				if following {
					e.Shows(word)
					e.Shows("## Model (smollm2-135m on a)")
					e.Shows("## You")
				} else if strings.Contains(e.Screen(), word) {
					t.Errorf("it follows by itself: docs/ask.md says otherwise\n%s", e.Screen())
				}
				e.Append("And what is it for?")
				e.Save()
				rig.UntilIn(t, answerWithin, "both questions and the answer are there", func() error {
					text, err := a.Read("q.ask")
					if err != nil {
						return err
					}
					return everyLine(text, "What is a sheaf of wheat?", "And what is it for?", strings.SplitN(answer, "\n", 2)[0])
				})
				e.Quit()
			})
		}
	}
}
