package control

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzRequest gives the daemon's side of the socket what any program of this user may write to it.
func FuzzRequest(f *testing.F) {
	type in struct {
		Path string
		At   *int64
		List []struct{ Name string }
	}
	for _, s := range []string{"", "{}", "null", `{"path":"/x","at":1}`, `{"list":[{"name":"a"},{}]}`, `[1]`, `{"at":1e999}`, strings.Repeat("[", 11000)} {
		f.Add("echo", []byte(s))
	}
	f.Add("../echo", []byte("{}"))
	f.Add("", []byte("{}"))
	calls := 0
	s := NewServer(map[string]Handler{"echo": Handle(func(_ context.Context, i in, _ func(string)) (in, error) {
		calls++
		if i.Path == "refuse" {
			return in{}, Errorf(Exists, "%s", i.List)
		}
		return i, nil
	})}, As)
	f.Fuzz(func(t *testing.T, method string, body []byte) {
		r, err := http.NewRequest(http.MethodPost, "http://sheaf/v1/"+method, bytes.NewReader(body))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		before := calls
		s.Handler.ServeHTTP(w, r)
		if method != "echo" {
			return
		}
		// One reply or one error, on a line of its own.
		var l line
		d := json.NewDecoder(w.Body)
		if err := d.Decode(&l); err != nil || d.More() || (l.Result != nil) == (l.Error != nil) {
			t.Fatalf("%q is answered with %q", body, w.Body)
		}
		if l.Result != nil && calls != before+1 {
			t.Fatal("a result without a call")
		}
		if e := l.Error; e != nil && (e.Kind == OK || strings.Contains(e.Message, "\n")) {
			t.Fatalf("%q is refused with %+v", body, e)
		}
	})
}

// FuzzReply gives the command's side what another daemon may answer.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"{\"result\":{}}", "{\"say\":\"x\"}\n{\"piece\":\"y\"}\n{\"error\":{\"kind\":3,\"message\":\"m\"}}", "{}", "{\"error\":{}}", "x", "{\"result\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &Client{home: "/home", http: &http.Client{Transport: answering(body)}}
		var out struct{ Path string }
		err := c.Stream(t.Context(), "x", struct{}{}, &out, func(string) {}, func(string) error { return nil })
		if err == nil && !bytes.Contains(body, []byte("{")) {
			t.Fatalf("%q is a result", body)
		}
	})
}

// answering is a daemon that always says the same.
type answering []byte

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	_, _ = w.Write(a)
	res := w.Result()
	res.Request = r
	return res, nil
}
