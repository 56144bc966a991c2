package server

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Kind is a protocol.
type Kind string

const (
	Auto   Kind = ""       // ask the server
	OpenAI Kind = "openai" // /v1/chat/completions
	Ollama Kind = "ollama" // /api/chat
)

// Options are the same for every server.
type Options struct {
	Kind Kind
	Key  string // sent as a bearer token, if not empty

	// Context is how many tokens a prompt and its answer may take together.
	// Ollama is asked for so many (it would cut prompts silently otherwise);
	// elsewhere it stands in for what the server does not tell. 0 means 8192
	// for Ollama and 4096 elsewhere.
	Context int

	// A server that sends nothing for so long counts as dead. FirstByte covers
	// loading the model and reading the prompt, 0 means 10 minutes; Silence is
	// between bytes after that, 0 means 1 minute.
	FirstByte time.Duration
	Silence   time.Duration
}

const (
	connectLimit = 5 * time.Second  // to connect
	askLimit     = 10 * time.Second // for anything but an answer
	maxLine      = 1 << 20          // bytes of one event
	maxBody      = 16 << 20         // bytes of one list
	maxError     = 64 << 10         // bytes read of an error
)

// parseAddress reads "host:port", "http://host:port" or a URL with a path; a
// path "/v1" at its end, as other programs want it, is taken off.
func parseAddress(address string) (*url.URL, error) {
	s := strings.TrimSpace(address)
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%s: not the address of a server", address)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s: an address has no query", address)
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1")
	u.RawPath = ""
	return u, nil
}

// loopback reports whether a host is this machine without asking a resolver.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func newClient(u *url.URL) *http.Client {
	tr := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectLimit}).DialContext,
		TLSHandshakeTimeout:    connectLimit,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    2,
		DisableCompression:     true, // it would delay pieces
	}
	if !loopback(u.Hostname()) {
		tr.Proxy = http.ProxyFromEnvironment
	}
	return &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
