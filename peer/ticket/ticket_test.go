package ticket_test

import (
	"crypto/ed25519"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/peer/ticket"
)

func sample() ticket.Ticket {
	t := ticket.Ticket{
		Device: feed.DeviceOf(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))),
		Addrs:  []string{"192.0.2.7:4701", "[2001:db8::1]:4701", "hub.example.org:443"},
	}
	for i := range t.Folder {
		t.Folder[i], t.Secret[i] = byte(i), byte(200+i)
	}
	return t
}

func encode(t *testing.T, tk ticket.Ticket) string {
	t.Helper()
	text, err := tk.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := encode(t, sample()); got != strings.TrimSpace(string(want)) {
		t.Errorf("the text of a ticket changed:\n%s\nwant\n%s", got, want)
	}
}

func TestParse(t *testing.T) {
	text := encode(t, sample())
	for _, spelling := range []string{text, " " + text + "\n", strings.ToUpper(text)} {
		got, err := ticket.Parse(spelling)
		if err != nil {
			t.Fatalf("Parse(%q): %v", spelling, err)
		}
		if !reflect.DeepEqual(got, sample()) {
			t.Errorf("Parse(%q) = %+v, want %+v", spelling, got, sample())
		}
	}
	if strings.ContainsAny(text, " \t\n") || text != strings.ToLower(text) {
		t.Errorf("%q is not one lower-case word", text)
	}
}

func TestParseRefuses(t *testing.T) {
	text := encode(t, sample())
	swapped := []byte(text)
	swapped[40], swapped[41] = 'a', 'b'
	for name, c := range map[string]struct{ text, want string }{
		"nothing":        {"", "does not begin"},
		"something else": {"https://example.org", "does not begin"},
		"cut":            {text[:60], "incomplete"},
		"mistyped":       {string(swapped), "checksum"},
		"last lost":      {text[:len(text)-1], ""},
		"foreign letter": {strings.Replace(text, text[30:31], "0", 1), "never part"},
		"in two":         {text[:50] + " " + text[50:], "never part"},
		"endless":        {"sheaf1" + strings.Repeat("a", 10000), "too long"},
	} {
		_, err := ticket.Parse(c.text)
		if !errors.Is(err, ticket.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
}

func TestEveryTypoIsSeen(t *testing.T) {
	text := encode(t, sample())
	for i := len(ticket.Prefix); i < len(text); i++ {
		b := []byte(text)
		b[i] = 'a'
		if text[i] == 'a' {
			b[i] = 'q'
		}
		if _, err := ticket.Parse(string(b)); err == nil {
			t.Fatalf("a typo at character %d went unseen", i)
		}
	}
}

func TestEncodeRefusesAddresses(t *testing.T) {
	for _, a := range []string{"", "host", "host:", "host:99999", ":1", "a b:1", "fe80::1%eth0:1", "[fe80::1%eth0]:1", strings.Repeat("a", 254) + ":1"} {
		tk := sample()
		tk.Addrs = []string{a}
		if text, err := tk.Encode(); err == nil {
			t.Errorf("address %q was taken: %s", a, text)
		}
	}
	tk := sample()
	tk.Addrs = make([]string, ticket.MaxAddrs+1)
	if _, err := tk.Encode(); err == nil {
		t.Error("too many addresses were taken")
	}
}

func FuzzParse(f *testing.F) {
	text, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("sheaf1aaaa")
	f.Fuzz(func(t *testing.T, text string) {
		tk, err := ticket.Parse(text)
		if err != nil {
			if !errors.Is(err, ticket.ErrMalformed) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if again := encode(t, tk); again != strings.ToLower(strings.TrimSpace(text)) {
			t.Fatalf("%q is another spelling of %q", text, again)
		}
	})
}
