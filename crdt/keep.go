package crdt

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// Keep says how long this device keeps old versions of what is no text. All ages are since the
// content came to, or was made on, this device.
type Keep struct {
	All   time.Duration `json:"all"`   // every version younger than this
	Daily time.Duration `json:"daily"` // the last of each day younger than this
}

// DefaultKeep is every version for a week, then one a day for about three months.
var DefaultKeep = Keep{All: 7 * 24 * time.Hour, Daily: 90 * 24 * time.Hour}

// keptVersion is one version of a file, as a policy sees it.
type keptVersion struct {
	received time.Time
	needed   bool // it must stay, whatever its age
}

// expired says which versions of one file may go. The newest never does.
func (k Keep) expired(now time.Time, versions []keptVersion) []bool {
	lastOf := map[string]int{} // by day
	newest := -1
	for i, v := range versions {
		day := v.received.Format(time.DateOnly)
		if j, ok := lastOf[day]; !ok || !v.received.Before(versions[j].received) {
			lastOf[day] = i
		}
		if newest < 0 || !v.received.Before(versions[newest].received) {
			newest = i
		}
	}
	out := make([]bool, len(versions))
	for i, v := range versions {
		age := now.Sub(v.received)
		daily := lastOf[v.received.Format(time.DateOnly)] == i
		out[i] = !v.needed && i != newest && age >= k.All && (age >= k.Daily || !daily)
	}
	return out
}

const settingKeep = "keep"

// Keep returns the home's policy.
func (h *Home) Keep() (Keep, error) {
	b, err := h.Setting(settingKeep)
	if err != nil || b == nil {
		return DefaultKeep, err
	}
	var k Keep
	if err := json.Unmarshal(b, &k); err != nil {
		return Keep{}, fail("setting", settingKeep, ErrDamaged, err)
	}
	return k, nil
}

// SetKeep sets it.
func (h *Home) SetKeep(k Keep) error {
	if k.All < 0 || k.Daily < 0 {
		return fail("setting", settingKeep, ErrInvalid, errors.New("a negative time"))
	}
	b, err := json.Marshal(k)
	if err != nil {
		return fail("setting", settingKeep, ErrInvalid, err)
	}
	return h.SetSetting(settingKeep, b)
}

// Freed is what expiry has freed on this device.
type Freed struct {
	Last    time.Time `json:"last"` // when it ran last; zero: never
	Objects int       `json:"objects"`
	Bytes   int64     `json:"bytes"`
}

const settingFreed = "freed"

// Freed returns what expiry has freed so far.
func (h *Home) Freed() (Freed, error) {
	var f Freed
	b, err := h.Setting(settingFreed)
	if err != nil || b == nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fail("setting", settingFreed, ErrDamaged, err)
	}
	return f, nil
}

func (h *Home) addFreed(n int, bytes int64) error {
	f, err := h.Freed()
	if err != nil {
		return err
	}
	f.Last, f.Objects, f.Bytes = time.Now().Round(0), f.Objects+n, f.Bytes+bytes
	b, err := json.Marshal(f)
	if err != nil {
		return fail("setting", settingFreed, ErrInvalid, err)
	}
	return h.SetSetting(settingFreed, b)
}

// sortedFolders are the home's folders in an order that is the same for all who lock several.
func (h *Home) sortedFolders() []*Folder {
	fs := h.Folders()
	slices.SortFunc(fs, func(a, b *Folder) int { return slices.Compare(a.id[:], b.id[:]) })
	return fs
}
