package crdt_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt"
)

// BenchmarkLongHistory is what looking back costs in a file of many events, each of which retyped
// part of a line somewhere in it: four times as many should cost about four times as much.
func BenchmarkLongHistory(b *testing.B) {
	for _, events := range []int{1250, 5000, 20_000} {
		a, _ := pair(b)
		r := rand.New(rand.NewPCG(1, 2))
		list := make([]string, 1000)
		for i := range list {
			list[i] = fmt.Sprintf("line %d of a text that many have worked on", i)
		}
		node := a.create("/f", strings.Join(list, "\n")+"\n")
		for i := range events {
			n := r.IntN(len(list))
			list[n] = fmt.Sprintf("line %d as it was retyped the %dth time", n, i)
			a.write("/f", a.node("/f").Version, strings.Join(list, "\n")+"\n")
			if i%200 == 199 {
				a.seal()
			}
		}
		for name, do := range map[string]func() error{
			"blame": func() error { _, err := a.f.Annotate(node); return err },
			"log":   func() error { _, err := a.f.Log(node); return err },
			"undo": func() error {
				if _, err := a.f.Undo("", false); err != nil {
					return err
				}
				_, err := a.f.Undo("", true)
				return err
			},
		} {
			b.Run(fmt.Sprintf("%s/events=%d", name, events), func(b *testing.B) {
				for range b.N {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkDeepStatus is what status costs in a tree of 60 directories in each other.
func BenchmarkDeepStatus(b *testing.B) {
	for _, depth := range []int{15, 60} {
		a, _ := pair(b)
		const files = 6000
		dir := crdt.Root
		for range depth {
			a.update(func(tx *crdt.Tx) (err error) {
				if dir, err = tx.Mkdir(dir, "directory", 0o755); err != nil {
					return err
				}
				for i := range files / depth {
					if _, _, err := tx.Create(dir, fmt.Sprintf("file%d", i), 0o644, crdt.NewContent{Text: "x"}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			for range b.N {
				if s := a.f.Status(); s.Files != files {
					b.Fatal(s.Files)
				}
			}
		})
	}
}
