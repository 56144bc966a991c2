package infer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/infer/conversation"
)

// One batch of words of an answer, into a long conversation in which somebody
// else has written since the answer began, and a look at what they did.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{10, 1000} {
		b.Run(fmt.Sprintf("%dkB", size), func(b *testing.B) {
			d := newDevice(b, "anna")
			var err error
			if d.f, err = d.home.CreateFolder("notes"); err != nil {
				b.Fatal(err)
			}
			v := d.save("q.ask", nil, strings.Repeat("what was said before\n", size*1000/21)+"Q\n")
			c := d.read("q.ask")
			conv := conversation.Parse(c.Text)
			a := coauthor{f: d.f, node: d.node("q.ask"), by: "m on anna"}
			if err := a.begin(answerTurn(c, conv, conv.Last()), conversation.Label{State: conversation.Answering}, nil); err != nil {
				b.Fatal(err)
			}
			d.save("q.ask", v, "above\n"+c.Text)
			b.Run("write", func(b *testing.B) {
				for b.Loop() {
					if err := a.say("some words ", nil); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("look", func(b *testing.B) {
				for b.Loop() {
					if _, _, m, err := a.look(); err != nil || m.gone {
						b.Fatal(m, err)
					}
				}
			})
			b.Run("read", func(b *testing.B) {
				for b.Loop() {
					a.say("x", nil)
					if _, err := d.f.Content(a.node); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
