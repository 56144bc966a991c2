package peer

import (
	"errors"
	"fmt"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/peer/ticket"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// Errors of this package, for errors.Is.
var (
	ErrTicketMalformed = ticket.ErrMalformed
	ErrTicketUsed      = crdt.ErrTicketUsed
	ErrTicketExpired   = crdt.ErrTicketExpired
	ErrTicketUnknown   = crdt.ErrTicketUnknown

	ErrUnreachable = errors.New("no address answered")
	ErrWrongDevice = errors.New("another device listens at this address")
	ErrStranger    = errors.New("the device does not know us")
	ErrProtocol    = errors.New("peer broke the rules")
	ErrNoPeer      = errors.New("no other device is connected")
	ErrClosed      = errors.New("node is closed")
)

// What a connection is closed with.
const (
	codeDone      quic.ApplicationErrorCode = iota // the node stops, or has a newer connection
	codeStranger                                   // all that a device that is not admitted gets to know
	codeDuplicate                                  // the other of two connections stays
	codeProtocol                                   // you broke the rules
	codeTrouble                                    // something failed here; not your fault
)

// codeRefused cancels a sync stream: this folder is not shared with you here.
const codeRefused quic.StreamErrorCode = 1

// violation returns err as the peer's fault.
func violation(err error) error { return fmt.Errorf("%w: %w", ErrProtocol, err) }

// blame returns err as the peer's fault if it is of a kind that only a peer can cause.
func blame(err error) error {
	for _, kind := range []error{
		wire.ErrMalformed, feed.ErrMalformed, feed.ErrSignature, feed.ErrTooLarge,
		crdt.ErrGap, crdt.ErrNotAdmitted, crdt.ErrEntry, blob.ErrRefused,
	} {
		if errors.Is(err, kind) && !errors.Is(err, ErrProtocol) {
			return violation(err)
		}
	}
	return err
}

// closedWith reports whether the connection ended with code, at either end.
func closedWith(err error, code quic.ApplicationErrorCode) bool {
	var ae *quic.ApplicationError
	return errors.As(err, &ae) && ae.ErrorCode == code
}

// explain returns what the end of a connection means to a person.
func explain(err error) error {
	var ae *quic.ApplicationError
	var idle *quic.IdleTimeoutError
	var reset *quic.StatelessResetError
	switch {
	case errors.As(err, &ae) && ae.Remote && ae.ErrorCode == codeStranger:
		return ErrStranger
	case errors.As(err, &ae) && ae.Remote && ae.ErrorCode == codeProtocol:
		return errors.New("the device dropped us: it says that we broke the rules")
	case errors.As(err, &ae) && ae.Remote && ae.ErrorCode == codeTrouble:
		return errors.New("the device has trouble of its own")
	case errors.As(err, &ae) && (ae.ErrorCode == codeDone || ae.ErrorCode == codeDuplicate):
		return nil
	case errors.As(err, &idle):
		return errors.New("the device stopped answering")
	case errors.As(err, &reset):
		return errors.New("the device restarted")
	}
	return err
}
