package daemon

import (
	"context"
	"errors"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
)

// check reads everything in the home while it is in use.
func (d *daemon) check(ctx context.Context, _ struct{}, say func(string)) (control.CheckReply, error) {
	for _, f := range d.home.Folders() {
		if err := d.publish(f); err != nil {
			return control.CheckReply{}, err
		}
	}
	return deepCheck(ctx, d.home, say)
}

func deepCheck(ctx context.Context, h *crdt.Home, say func(string)) (control.CheckReply, error) {
	c, err := h.Check(ctx, say)
	r := checkReply(c)
	if err == nil {
		err = compare(ctx, h, &r, say)
	}
	return r, err
}

// DeepCheck is what the daemon's check does, for a home that no daemon holds.
func DeepCheck(ctx context.Context, dir string, say func(string)) (control.CheckReply, error) {
	h, err := crdt.Open(dir, crdt.Options{})
	if err != nil {
		return control.CheckReply{}, err
	}
	r, err := deepCheck(ctx, h, say)
	return r, errors.Join(err, h.Close())
}

// Repair mends a home that no daemon holds. What it found is in the reply also where it fails.
func Repair(ctx context.Context, dir string, say func(string)) (control.CheckReply, error) {
	c, err := crdt.Repair(ctx, dir, crdt.Options{}, say)
	return checkReply(c), err
}

func checkReply(c *crdt.Checkup) control.CheckReply {
	if c == nil {
		return control.CheckReply{Damage: []control.Damage{}}
	}
	r := control.CheckReply{Objects: c.Objects, Bytes: c.Bytes, Entries: c.Entries, Texts: c.Texts, Damage: []control.Damage{}}
	for _, x := range c.Damage {
		r.Damage = append(r.Damage, control.Damage{What: x.What, Folder: x.Folder, Path: x.Path, Text: x.Text, Done: x.Done})
	}
	return r
}
