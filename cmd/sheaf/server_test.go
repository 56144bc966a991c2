package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdServer is: server. It starts a server that speaks OpenAI's protocol and answers as
// its questions say, and sets $SERVER to its address.
//
//	slowly  says a word, then nothing until the caller goes away
//	break   says a word, then ends the connection
//	tell    says how often a slow answer's caller went away
//	else    says how long the question was, and its last line
func cmdServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: server")
	}
	var left atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"object":"list","data":[{"id":"parrot","object":"model"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Messages []struct{ Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Messages) == 0 {
			http.Error(w, "not a question", http.StatusBadRequest)
			return
		}
		asked := strings.TrimSpace(q.Messages[len(q.Messages)-1].Content)
		w.Header().Set("Content-Type", "text/event-stream")
		say := func(piece string) {
			b, _ := json.Marshal(piece)
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%s}}]}\n\n", b)
			_ = http.NewResponseController(w).Flush()
		}
		switch line := asked[strings.LastIndexByte(asked, '\n')+1:]; line {
		case "slowly":
			say("Well ")
			<-r.Context().Done()
			left.Add(1)
			return
		case "break":
			say("Well ")
			panic(http.ErrAbortHandler)
		case "tell":
			say(fmt.Sprintf("%d left", left.Load()))
		default:
			say(fmt.Sprintf("%d lines; ", strings.Count(asked, "\n")+1))
			say(line)
		}
		fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	})
	s := httptest.NewServer(mux)
	ts.Defer(s.Close)
	ts.Setenv("SERVER", s.URL)
}
