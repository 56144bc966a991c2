package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sheaf-fs/sheaf/infer/engine"
)

// FuzzAnswer is a server that answers with whatever it likes. What comes of it is text or an
// error of one line.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n",
		"data: {\"choices\":[{\"delta\":{\"content\":null},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":-1}}\n",
		": comment\n\ndata: {\"error\":{\"message\":\"a\\nb\",\"code\":500}}\n",
		"{\"message\":{\"content\":\"hi\\ud800\"},\"done\":true,\"eval_duration\":-9223372036854775808}\n",
		"{\"error\":\"out of memory\"}\n", "{\"error\":{}}", "data:", "\xff\xfe",
	} {
		f.Add([]byte(s), 200)
	}
	f.Add([]byte(`{"detail":"Not Found"}`), 404)
	fakes, addresses := map[Kind]*fake{}, map[Kind]string{}
	for _, k := range kinds {
		fakes[k] = &fake{kind: k}
		srv := httptest.NewServer(fakes[k])
		f.Cleanup(srv.Close)
		addresses[k] = srv.URL
	}
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		for _, k := range kinds {
			fakes[k].chat = func(w http.ResponseWriter, _ *http.Request) {
				if code >= 400 && code < 600 && code != http.StatusServiceUnavailable { // that one is asked again
					w.WriteHeader(code)
				}
				_, _ = w.Write(body)
			}
			got, _, err := run(t.Context(), session(t, addresses[k], Options{}), engine.Request{})
			if !utf8.ValidString(got) || len(got) > 3*len(body) {
				t.Fatalf("%s: %q of %q", k, got, body)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n") {
				t.Fatalf("%s: not one line: %q", k, err)
			}
		}
	})
}
