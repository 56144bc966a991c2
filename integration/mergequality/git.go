package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// repo reads a git repository. With a scratch folder, that is where git writes what its
// merges make: the repository stays as it is.
type repo struct {
	objects string // its objects
	dir     string
	scratch string
}

func openRepo(ctx context.Context, dir string) (repo, error) {
	r := repo{dir: dir}
	out, err := r.command(ctx, "rev-parse", "--path-format=absolute", "--git-path", "objects").Output()
	r.objects = strings.TrimSpace(string(out))
	return r, err
}

func (r repo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", r.dir, "-c", "merge.renames=false"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "LC_ALL=C")
	if r.scratch != "" {
		cmd.Env = append(cmd.Env, "GIT_OBJECT_DIRECTORY="+r.scratch, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+r.objects)
	}
	cmd.Stderr = os.Stderr
	return cmd
}

// pipe is a git command that answers requests in their order.
type pipe struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// pipe starts a command. It gets the requests that are there already, or the ones to come.
func (r repo) pipe(ctx context.Context, requests []string, args ...string) (p *pipe, err error) {
	cmd := r.command(ctx, args...)
	p = &pipe{cmd: cmd}
	if requests != nil {
		cmd.Stdin = strings.NewReader(strings.Join(requests, "\n") + "\n")
	} else if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReaderSize(out, 1<<16)
	return p, cmd.Start()
}

func (p *pipe) close() error {
	if p.in != nil {
		p.in.Close()
	}
	io.Copy(io.Discard, p.out)
	return p.cmd.Wait()
}

// field reads up to the next NUL.
func (p *pipe) field() (string, error) {
	s, err := p.out.ReadString(0)
	return strings.TrimSuffix(s, "\x00"), err
}

// blobs reads files: git cat-file --batch, or --batch-check where only ids are wanted.
type blobs struct{ names, contents *pipe }

func (r repo) blobs(ctx context.Context) (b blobs, err error) {
	if b.names, err = r.pipe(ctx, nil, "cat-file", "--batch-check"); err == nil {
		b.contents, err = r.pipe(ctx, nil, "cat-file", "--batch")
	}
	return b, err
}

func (b blobs) close() error {
	return errors.Join(b.names.close(), b.contents.close())
}

// id gives the id of COMMIT:PATH, or "" where no file is there.
func (b blobs) id(of string) (string, error) {
	if strings.Contains(of, "\n") {
		return "", nil
	}
	id, _, err := b.names.header(of)
	return id, err
}

// read gives the content of a file by its id.
func (b blobs) read(id string) (string, error) {
	id, n, err := b.contents.header(id)
	if err != nil || id == "" {
		return "", err
	}
	buf := make([]byte, n+1)
	_, err = io.ReadFull(b.contents.out, buf)
	return string(buf[:n]), err
}

// header asks for an object and reads what precedes it; "" if it is no file.
func (p *pipe) header(what string) (id string, size int64, err error) {
	if _, err := fmt.Fprintln(p.in, what); err != nil {
		return "", 0, err
	}
	head, err := p.out.ReadString('\n')
	if err != nil {
		return "", 0, err
	}
	f := strings.Fields(head)
	if len(f) != 3 || f[1] != "blob" {
		return "", 0, nil
	}
	size, err = strconv.ParseInt(f[2], 10, 64)
	return f[0], size, err
}

// change is a file that differs between two commits.
type change struct{ before, after, path string }

// changed reads the next list of a git diff-tree --stdin: the regular files that both commits
// have, with different contents.
func (p *pipe) changed() ([]change, error) {
	if _, err := p.field(); err != nil { // the commit
		return nil, err
	}
	var out []change
	for {
		next, err := p.out.Peek(1)
		if err == io.EOF || err == nil && next[0] != ':' {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		head, err := p.field()
		if err != nil {
			return nil, err
		}
		path, err := p.field()
		if err != nil {
			return nil, err
		}
		f := strings.Fields(head)
		if len(f) != 5 {
			return nil, fmt.Errorf("diff-tree: %q", head)
		}
		if strings.HasPrefix(f[0], ":100") && strings.HasPrefix(f[1], "100") && f[2] != f[3] {
			out = append(out, change{f[2], f[3], path})
		}
	}
}

// merger makes merges as git does: git merge-tree, several by one process.
type merger struct {
	ctx      context.Context
	repo     repo
	requests []string // not answered yet
	*pipe
}

// errUnreadable says that git cannot make a merge: a partial clone lacks a file of it.
var errUnreadable = errors.New("git cannot make this merge")

// merge answers the next request: the tree that was made, and the paths that conflict in it.
func (m *merger) merge() (tree string, conflicts map[string]bool, err error) {
	if m.pipe == nil {
		m.pipe, err = m.repo.pipe(m.ctx, m.requests, "merge-tree", "--write-tree", "--stdin", "-z", "--no-messages")
		if err != nil {
			return "", nil, err
		}
	}
	m.requests = m.requests[1:]
	tree, conflicts, err = m.pipe.merged()
	if err != nil && m.ctx.Err() == nil {
		m.pipe.close()
		m.pipe = nil
		err = errUnreadable
	}
	return tree, conflicts, err
}

func (m *merger) close() {
	if m.pipe != nil {
		m.pipe.close()
	}
}

// merged reads one answer.
func (p *pipe) merged() (tree string, conflicts map[string]bool, err error) {
	if _, err = p.field(); err != nil { // 1: clean
		return "", nil, err
	}
	if tree, err = p.field(); err != nil {
		return "", nil, err
	}
	conflicts = map[string]bool{}
	for {
		f, err := p.field()
		if err != nil || f == "" {
			return tree, conflicts, err
		}
		if _, path, ok := strings.Cut(f, "\t"); ok {
			conflicts[path] = true
		}
	}
}
