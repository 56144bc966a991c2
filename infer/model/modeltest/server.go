package modeltest

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The real server that tests talk to is llama-server, as the Python package
// xllamacpp has it: llama.cpp's own server in an extension module.
const serverPackage = "xllamacpp==2026.10.11549 --hash=sha256:c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261\n"

//go:embed llama-server.py
var serverScript string

func serverDir() (string, error) {
	dir, err := Dir()
	return filepath.Join(dir, "llama-server"), err
}

// FetchServer installs the server by pip beside the models, unless it is there.
func FetchServer(ctx context.Context) error {
	dir, err := serverDir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	work := dir + ".partial"
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	list := filepath.Join(work, "requirements.txt")
	if err := os.WriteFile(list, []byte(serverPackage), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
		"--only-binary=:all:", "--require-hashes", "--target", work, "-r", list)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pip: %w: %s", err, out)
	}
	return os.Rename(work, dir)
}

// Server starts a llama-server with the tests' model, a context of so many
// tokens and one thread, and returns its address, or skips the test. It ends
// with the test.
func Server(tb testing.TB, contextSize int) string {
	tb.Helper()
	s := Store(tb)
	dir, err := serverDir()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		tb.Skipf("no llama-server in %s (make models fetches it)", dir)
	}
	list, err := s.List()
	if err != nil {
		tb.Fatal(err)
	}
	path := ""
	for _, e := range list {
		if e.Chosen {
			path = e.Path
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()

	cmd := exec.Command("python3", "-c", serverScript, path, strconv.Itoa(port), strconv.Itoa(contextSize))
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close() // it ends when its input does
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = cmd.Wait()
	})
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- strings.TrimSpace(line)
	}()
	select {
	case address := <-ready:
		if address == "" {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			tb.Fatalf("llama-server did not start: %s", said.String())
		}
		return address
	case <-time.After(time.Minute):
		tb.Fatal("llama-server is not ready after a minute")
		return ""
	}
}
