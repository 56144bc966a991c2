package daemon

import (
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"time"
)

// profileEnv, if set to anything, has the daemon answer net/http/pprof on a socket in
// its home, for who wants to know where its time goes (docs/performance.md).
const profileEnv = "SHEAF_PPROF"

// startProfiles answers pprof if the environment asks for it, until end is called.
func (d *daemon) startProfiles() (end func(), err error) {
	if os.Getenv(profileEnv) == "" {
		return func() {}, nil
	}
	path := filepath.Join(d.o.Home, "pprof")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path) // the home is its owner's alone
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("answer pprof", "err", err)
		}
	}()
	return func() { s.Close(); <-done }, nil
}
