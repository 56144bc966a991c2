package crdt

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What a policy says of any versions of a file.
func TestKeepProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
		day := 24 * time.Hour
		k := Keep{All: time.Duration(rapid.IntRange(0, 10).Draw(t, "all")) * day, Daily: time.Duration(rapid.IntRange(0, 100).Draw(t, "daily")) * day}
		versions := rapid.SliceOf(rapid.Custom(func(t *rapid.T) keptVersion {
			age := time.Duration(rapid.IntRange(0, 120*24).Draw(t, "hours")) * time.Hour
			return keptVersion{now.Add(-age), rapid.IntRange(0, 9).Draw(t, "needed") == 0}
		})).Draw(t, "versions")
		gone := k.expired(now, versions)
		newest := slices.MaxFunc(append([]keptVersion{{}}, versions...), func(a, b keptVersion) int { return a.received.Compare(b.received) }).received
		stays := map[string]bool{}
		newestStays := len(versions) == 0
		for i, v := range versions {
			age := now.Sub(v.received)
			switch {
			case gone[i] && v.needed:
				t.Fatalf("needed version %d goes", i)
			case gone[i] && age < k.All:
				t.Fatalf("version %d of %v goes", i, age)
			case !gone[i] && v.received.Equal(newest):
				newestStays = true
			}
			if !gone[i] {
				stays[v.received.Format(time.DateOnly)] = true
			}
		}
		if !newestStays {
			t.Fatal("the newest version goes")
		}
		for i, v := range versions {
			age := now.Sub(v.received)
			if age < k.Daily && !stays[v.received.Format(time.DateOnly)] {
				t.Fatalf("nothing stays of the day of version %d", i)
			}
			if age >= k.All && age >= k.Daily && !v.needed && !v.received.Equal(newest) && !gone[i] {
				t.Fatalf("version %d of %v stays", i, age)
			}
		}
		// As time goes on, what went does not come back.
		later := k.expired(now.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "later"))*day), versions)
		for i := range gone {
			if gone[i] && !later[i] {
				t.Fatalf("version %d is kept again later", i)
			}
		}
	})
}
