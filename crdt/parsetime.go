package crdt

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// layouts are how a moment may be written, in the local time zone where none is named. A dot
// may stand for a colon and a T for a space, so that a moment can be a file's name.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04Z07:00",
	"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02",
}

var (
	ago    = regexp.MustCompile(`^-?(\d{1,5}) ?(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)( ago)?$`)
	dotted = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})[ T](\d{2})\.(\d{2})(?:\.(\d{2}))?(.*)$`)
	clock  = regexp.MustCompile(`^(\d{1,2})[:.](\d{2})$`)
)

// ParseTime reads a moment as a person writes it: RFC 3339, "2026-11-30 14:00", "2026-11-30"
// (its beginning), "14:00" (today), "-2h", "3 days ago", "@1790000000" (Unix seconds),
// "yesterday" (this time of day, a day ago), "today" (its beginning), "now". What names no zone
// is in that of now. It fails with ErrInvalid.
func ParseTime(s string, now time.Time) (time.Time, error) {
	in := strings.TrimSpace(s)
	switch strings.ToLower(in) {
	case "now":
		return now, nil
	case "today":
		return time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location()), nil
	case "yesterday":
		return now.AddDate(0, 0, -1), nil
	}
	if m := ago.FindStringSubmatch(strings.ToLower(in)); m != nil && (in[0] == '-') != (m[3] != "") {
		if t, ok := before(now, m[1], m[2][0]); ok {
			return t, nil
		}
	}
	if unix, ok := strings.CutPrefix(in, "@"); ok {
		if n, err := strconv.ParseInt(unix, 10, 37); err == nil {
			return time.Unix(n, 0).In(now.Location()), nil
		}
	}
	if m := clock.FindStringSubmatch(in); m != nil {
		hour, _ := strconv.Atoi(m[1])
		minute, _ := strconv.Atoi(m[2])
		if hour < 24 && minute < 60 {
			return time.Date(now.Year(), now.Month(), now.Day(), hour, minute, 0, 0, now.Location()), nil
		}
	}
	if m := dotted.FindStringSubmatch(in); m != nil {
		in = m[1] + " " + m[2] + ":" + m[3]
		if m[4] != "" {
			in += ":" + m[4]
		}
		in += m[5]
	}
	for _, form := range []string{in, strings.Replace(in, "T", " ", 1), strings.Replace(in, " ", "T", 1)} {
		for _, layout := range layouts {
			if t, err := time.ParseInLocation(layout, form, now.Location()); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, &Error{Op: "read time", Path: s, Kind: ErrInvalid, Err: errors.New("not a time"),
		Hint: `write it like "2026-11-30 14:00", 14:00, yesterday, -2h or "3 days ago"`}
}

func before(now time.Time, count string, unit byte) (time.Time, bool) {
	n, err := strconv.Atoi(count)
	if err != nil {
		return time.Time{}, false
	}
	switch unit {
	case 'd':
		return now.AddDate(0, 0, -n), true
	case 'w':
		return now.AddDate(0, 0, -7*n), true
	}
	size := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour}[unit]
	return now.Add(-time.Duration(n) * size), true
}
