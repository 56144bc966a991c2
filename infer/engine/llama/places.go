package llama

import (
	"slices"
	"time"
)

const (
	parkAfter = 200 * time.Millisecond // of idleness
	parkFrom  = 256                    // tokens that are worth keeping a place for
	parkGain  = 64                     // tokens that are worth going back to one
)

// place is what the context held for one conversation.
type place struct {
	tokens []int32
	state  []byte
}

// reuse brings the context to the longest beginning of prompt that is known and
// returns its length: at least the last token is left to be computed.
func (a *answerer) reuse(prompt []int32, cold bool) int {
	n := 0
	if !cold {
		n = min(common(a.past, prompt), len(prompt)-1)
		best := -1
		for i, p := range a.parked {
			if m := min(common(p.tokens, prompt), len(prompt)-1); m > n+parkGain {
				best, n = i, m
			}
		}
		if best >= 0 {
			p := a.parked[best]
			a.parked = append(slices.Delete(a.parked, best, best+1), p)
			a.past = a.past[:0]
			if a.model.SetState(p.state) {
				a.past = append(a.past, p.tokens...)
			}
			n = min(n, len(a.past))
		}
	}
	n = a.model.Rewind(n)
	a.past = a.past[:n]
	return n
}

// park keeps a copy of the context, so that another conversation may have it.
func (a *answerer) park() {
	if len(a.past) < parkFrom || slices.ContainsFunc(a.parked, func(p place) bool { return slices.Equal(p.tokens, a.past) }) {
		return
	}
	state := a.model.State()
	if state == nil || int64(len(state)) > a.memory {
		return
	}
	// The earlier place of a conversation that went on since is of no use.
	a.parked = slices.DeleteFunc(a.parked, func(p place) bool { return common(p.tokens, a.past) >= len(p.tokens)*3/4 })
	a.parked = append(a.parked, place{slices.Clone(a.past), state})
	sum := int64(0)
	for i := len(a.parked) - 1; i >= 0; i-- {
		if sum += int64(len(a.parked[i].state)); sum > a.memory {
			a.parked = slices.Delete(a.parked, 0, i+1)
			break
		}
	}
}

func common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
