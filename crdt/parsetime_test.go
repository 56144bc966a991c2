package crdt_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("there", 2*3600)
	now := time.Date(2026, 11, 30, 16, 30, 5, 0, zone)
	for s, want := range map[string]time.Time{
		"2026-11-30T14:00:00Z":      time.Date(2026, 11, 30, 14, 0, 0, 0, time.UTC),
		"2026-11-30T14:00:00+01:00": time.Date(2026, 11, 30, 13, 0, 0, 0, time.UTC),
		"2026-11-30T14.00.00Z":      time.Date(2026, 11, 30, 14, 0, 0, 0, time.UTC),
		"2026-11-30 14:00":          time.Date(2026, 11, 30, 14, 0, 0, 0, zone),
		"2026-11-30T14:00":          time.Date(2026, 11, 30, 14, 0, 0, 0, zone),
		"2026-11-30 14:00:07":       time.Date(2026, 11, 30, 14, 0, 7, 0, zone),
		"2026-11-30T14.00.07":       time.Date(2026, 11, 30, 14, 0, 7, 0, zone),
		"2026-11-30 14.00":          time.Date(2026, 11, 30, 14, 0, 0, 0, zone),
		"2026-11-29":                time.Date(2026, 11, 29, 0, 0, 0, 0, zone),
		"9:05":                      time.Date(2026, 11, 30, 9, 5, 0, 0, zone),
		"-2h":                       now.Add(-2 * time.Hour),
		"-90m":                      now.Add(-90 * time.Minute),
		"3 days ago":                now.AddDate(0, 0, -3),
		"-2w":                       now.AddDate(0, 0, -14),
		"1 minute ago":              now.Add(-time.Minute),
		"Yesterday":                 now.AddDate(0, 0, -1),
		"today":                     time.Date(2026, 11, 30, 0, 0, 0, 0, zone),
		" now ":                     now,
		"@1790000000":               time.Unix(1790000000, 0),
	} {
		if got, err := crdt.ParseTime(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "soon", "2026-13-01", "25:00", "2h", "-h", "-5", "2026-11-30 14", "-99999999999h", "deadbeef", "@x", "2026-11-30T25:00:00Z"} {
		got, err := crdt.ParseTime(s, now)
		var e *crdt.Error
		if !errors.Is(err, crdt.ErrInvalid) || !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	now := time.Date(2026, 11, 30, 16, 30, 5, 0, time.UTC)
	for _, s := range []string{"-2h", "yesterday", "2026-11-30T14.00.07", "@1", "14:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := crdt.ParseTime(s, now); err != nil && !errors.Is(err, crdt.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	})
}
