package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
)

// How long after its start, and how often from then on, the daemon frees what is kept no longer.
const (
	expiryStart = 10 * time.Minute
	expiryEvery = 24 * time.Hour
)

// startExpiry has old versions expire until the function it returns is called.
func (d *daemon) startExpiry(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		timer := time.NewTimer(expiryStart)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			n, bytes, err := d.home.Expire(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				d.log.Error("free old versions", "err", err)
			} else if n > 0 {
				d.log.Info("freed old versions", "objects", n, "bytes", bytes)
			}
			timer.Reset(expiryEvery)
		}
	})
	return func() { cancel(); done.Wait() }
}

// expire shows and changes the policy, and frees what is kept no longer.
func (d *daemon) expire(ctx context.Context, r control.ExpireRequest, _ func(string)) (out control.ExpireReply, err error) {
	k, err := d.home.Keep()
	if err != nil {
		return out, err
	}
	if r.All != nil || r.Daily != nil {
		if r.All != nil {
			k.All = *r.All
		}
		if r.Daily != nil {
			k.Daily = *r.Daily
		}
		if err := d.home.SetKeep(crdt.Keep{All: k.All, Daily: k.Daily}); err != nil {
			return out, AsUsage(err)
		}
	}
	out.All, out.Daily = k.All, k.Daily
	if r.Now {
		for _, f := range d.home.Folders() {
			if err := d.publish(f); err != nil {
				return out, err
			}
		}
		if out.Objects, out.Bytes, err = d.home.Expire(ctx); err != nil {
			return out, err
		}
	}
	out.Freed, err = d.freed()
	return out, err
}

func (d *daemon) freed() (control.Freed, error) {
	f, err := d.home.Freed()
	out := control.Freed{Objects: f.Objects, Bytes: f.Bytes}
	if !f.Last.IsZero() {
		out.Last = &f.Last
	}
	return out, err
}
