package daemon

import (
	"context"
	"errors"
	iofs "io/fs"
	"syscall"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/fs"
	"github.com/sheaf-fs/sheaf/fs/plain"
	"github.com/sheaf-fs/sheaf/infer"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/model"
	"github.com/sheaf-fs/sheaf/peer"
)

// kinds is the one table from what the parts say to what the command's caller can act on.
// The first match counts.
var kinds = []struct {
	err  error
	kind control.Kind
	hint string
}{
	{peer.ErrTicketMalformed, control.Ticket, "copy the ticket again, all of it"},
	{crdt.ErrTicketUsed, control.Ticket, "a ticket works once: ask for another one (sheaf invite)"},
	{crdt.ErrTicketExpired, control.Ticket, "ask for another one (sheaf invite)"},
	{crdt.ErrTicketUnknown, control.Ticket, "ask for another one (sheaf invite)"},
	{fs.ErrNoFUSE, control.NoFUSE, "sheaf doctor tells more"},
	{fs.ErrNotEmpty, control.Exists, ""},
	{fs.ErrPermission, control.Denied, ""},
	{fs.ErrBusy, control.InUse, ""},
	{plain.ErrChanged, control.NotFound, "mount its disk or move it back, then sheaf up: an empty directory in its place would remove every file for everybody"},
	{plain.ErrForeign, control.InUse, "choose another path"},
	{crdt.ErrNoSpace, control.DiskFull, "make room, then try again: nothing that was written is lost"},
	{crdt.ErrDamaged, control.Damaged, "nothing was changed; sheaf doctor --repair (after sheaf down) mends what it can and keeps what it cannot, or join again with a new --home"},
	{crdt.ErrNewer, control.Failure, "update sheaf on this device"},
	{crdt.ErrInUse, control.InUse, "one process at a time may have a home open: end the other one (sheaf down)"},
	{crdt.ErrNoHome, control.NotFound, "make a folder with sheaf init, join one with sheaf join, or name another home with --home"},
	{crdt.ErrNotExist, control.NotFound, ""},
	{crdt.ErrNotHere, control.NotFound, "its content has not arrived yet; see sheaf status"},
	{crdt.ErrComing, control.NotFound, ""},
	{crdt.ErrExists, control.Exists, ""},
	{crdt.ErrNotEmpty, control.Exists, ""},
	{crdt.ErrDenied, control.Denied, ""},
	{crdt.ErrNotAdmitted, control.Denied, "ask a member for a ticket (sheaf invite)"},
	{crdt.ErrReadOnly, control.Denied, ""},
	{peer.ErrUnreachable, control.Network, "the inviting device has to be up (sheaf status there) and its address reachable from here"},
	{engine.ErrNoEngine, control.NoModel, ""},
	{engine.ErrNoModel, control.NoModel, ""},
	{engine.ErrEngineDied, control.CutOff, "asking again starts it again"},
	{infer.ErrNothing, control.NotFound, ""},
	{infer.ErrBusy, control.InUse, "sheaf ask --wait waits for it"},
	{model.ErrUnknown, control.NotFound, ""},
	{model.ErrMissing, control.NotFound, ""},
	{model.ErrInUse, control.InUse, ""},
	{model.ErrClient, control.Network, ""},
	{context.DeadlineExceeded, control.Timeout, ""},
	{syscall.ENOSPC, control.DiskFull, "make room, then try again: nothing that was written is lost"},
	{syscall.EDQUOT, control.DiskFull, "make room, then try again: nothing that was written is lost"},
	{syscall.EROFS, control.Denied, ""},
	{iofs.ErrPermission, control.Denied, ""},
	{iofs.ErrNotExist, control.NotFound, ""},
	{iofs.ErrExist, control.Exists, ""},
}

// Explain gives an error its kind and hint; nil stays nil.
func Explain(err error) error {
	if e := explain(err); e != nil {
		return e
	}
	return nil
}

func explain(err error) *control.Error {
	var done *control.Error
	if err == nil || errors.As(err, &done) {
		return done
	}
	e := &control.Error{Kind: control.Failure, Message: err.Error()}
	e.Hint = hint(err)
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			e.Kind = k.kind
			if e.Hint == "" {
				e.Hint = k.hint
			}
			break
		}
	}
	return e
}

// hint is what the part that failed knows to try.
func hint(err error) string {
	var c *crdt.Error
	if errors.As(err, &c) && c.Hint != "" {
		return c.Hint
	}
	var e *engine.Error
	if errors.As(err, &e) && e.Hint != "" {
		return e.Hint
	}
	var m *model.Error
	if errors.As(err, &m) {
		return m.Hint
	}
	return ""
}
