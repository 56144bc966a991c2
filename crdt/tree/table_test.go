package tree

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// A table holds what a map would, whatever was set and deleted.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names nodesByName
		want := map[string]*node{}
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			name := fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "name"))
			if rapid.Bool().Draw(t, "delete") {
				names.delete(name)
				delete(want, name)
			} else {
				want[name] = &node{name: name}
				names.set(want[name])
			}
		}
		if names.len() != len(want) {
			t.Fatalf("%d names, not %d", names.len(), len(want))
		}
		for i := range 61 {
			name := fmt.Sprint(i)
			if got := names.get(name); got != want[name] {
				t.Fatalf("%s is %v, not %v", name, got, want[name])
			}
		}
		for n := range names.all() {
			if want[n.name] != n {
				t.Fatalf("%v is not in the table", n)
			}
			delete(want, n.name)
		}
		if len(want) > 0 {
			t.Fatalf("all left out %v", want)
		}
	})
}
