package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sheaf-fs/sheaf/crdt"
)

// job is a number of merges that are made together, by processes of their own.
const jobSize = 128

// measure makes all merges of a repository.
func measure(ctx context.Context, dir string, o options) (total result, err error) {
	r, err := openRepo(ctx, dir)
	if err != nil {
		return total, err
	}
	h, err := r.history(ctx)
	if err != nil {
		return total, err
	}
	merges, all := h.merges(o.merges)
	total.merges = all
	results := make([]result, (len(merges)+jobSize-1)/jobSize)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, o.jobs))
	for i := range results {
		g.Go(func() (err error) {
			results[i], err = r.job(ctx, merges[i*jobSize:min(len(merges), (i+1)*jobSize)])
			return err
		})
	}
	err = g.Wait()
	for i := range results {
		total.add(&results[i])
	}
	return total, err
}

// both is a file that both sides of a merge changed.
type both struct {
	path, base string
	sides      [2]string
}

func (r repo) job(ctx context.Context, merges []mergeCommit) (res result, err error) {
	if r.scratch, err = os.MkdirTemp("", "mergequality-"); err != nil {
		return res, err
	}
	defer os.RemoveAll(r.scratch)
	files, err := r.both(ctx, merges)
	if err != nil {
		return res, err
	}
	var requests []string
	for i, m := range merges {
		if len(files[i]) > 0 {
			requests = append(requests, m.parents[0]+" "+m.parents[1])
		}
	}
	if len(requests) == 0 {
		return res, nil
	}
	theirs := &merger{ctx: ctx, repo: r, requests: requests}
	defer theirs.close()
	contents, err := r.blobs(ctx)
	if err != nil {
		return res, err
	}
	defer contents.close()
	ours, err := newPair()
	if err != nil {
		return res, err
	}
	defer ours.close()
	for i, m := range merges {
		if len(files[i]) == 0 {
			continue
		}
		tree, conflicts, err := theirs.merge()
		if errors.Is(err, errUnreadable) {
			continue
		} else if err != nil {
			return res, err
		}
		res.made++
		for _, f := range files[i] {
			c, err := contents.load(m, f)
			if err != nil {
				return res, err
			}
			if c == nil {
				res.notText++
				continue
			}
			if !conflicts[f.path] {
				id, err := contents.id(tree + ":" + f.path)
				if err != nil {
					return res, err
				}
				if c.git, err = contents.read(id); err != nil {
					return res, err
				}
				c.clean = true
			}
			if err := ours.hold(c, &res); err != nil {
				return res, err
			}
		}
	}
	return res, nil
}

// both lists for every merge the files that both sides changed, by path.
func (r repo) both(ctx context.Context, merges []mergeCommit) ([][]both, error) {
	var requests []string
	for _, m := range merges {
		requests = append(requests, m.parents[0]+" "+m.base, m.parents[1]+" "+m.base)
	}
	p, err := r.pipe(ctx, requests, "diff-tree", "--stdin", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", "--diff-filter=M", "--always")
	if err != nil {
		return nil, err
	}
	out := make([][]both, len(merges))
	for i := range merges {
		a, err := p.changed()
		if err != nil {
			return nil, err
		}
		first := map[string]change{}
		for _, c := range a {
			first[c.path] = c
		}
		b, err := p.changed()
		if err != nil {
			return nil, err
		}
		for _, c := range b {
			if a, ok := first[c.path]; ok {
				out[i] = append(out[i], both{c.path, c.before, [2]string{a.after, c.after}})
			}
		}
	}
	return out, p.close()
}

// merge is one file of one merge.
type merge struct {
	where string // commit and path
	base  string
	saves [2][]string // what each side saved, in its order, when every commit is a save; nil: not known
	sides [2]string   // what each side ended with
	clean bool        // git merges it without conflict, to:
	git   string
}

// load reads a file's contents, or gives nil if it is no text everywhere.
func (b blobs) load(m mergeCommit, f both) (*merge, error) {
	c := &merge{where: m.id + ":" + f.path}
	text := true
	read := func(id string) (s string) {
		if !text {
			return ""
		}
		s, err := b.read(id)
		if err != nil || !crdt.IsTextString(s) {
			text = false
		}
		return s
	}
	c.base, c.sides[0], c.sides[1] = read(f.base), read(f.sides[0]), read(f.sides[1])
	if !text {
		return nil, nil
	}
	for side, commits := range m.saves {
		last := f.base
		for _, commit := range commits {
			id, err := b.id(commit + ":" + f.path)
			if err != nil {
				return nil, err
			}
			if id == "" { // removed for a while: another file
				c.saves[side] = nil
				break
			}
			if id != last {
				c.saves[side] = append(c.saves[side], read(id))
			}
			last = id
		}
		if last != f.sides[side] {
			c.saves[side] = nil
		}
	}
	if !text || strings.Contains(f.path, "\n") {
		return nil, nil
	}
	return c, nil
}
