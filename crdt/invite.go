package crdt

import (
	"crypto/rand"
	"crypto/subtle"
	"time"

	"github.com/zeebo/blake3"

	"github.com/sheaf-fs/sheaf/crdt/fault"
)

// inviteFor is how long a ticket can be used.
const inviteFor = 24 * time.Hour

type invitation struct {
	Expires int64  `cbor:"1,keyasint"` // unix s
	Device  Device `cbor:"2,keyasint"` // who used it; zero: nobody yet
}

func (f *Folder) inviteKey(secret [32]byte) []byte {
	var h [32]byte
	blake3.DeriveKey("sheaf 2026-01 secret of a ticket v1", secret[:], h[:])
	return f.key('s', h[:])
}

// Invite makes the secret of a ticket, good for one device and 24 hours. Only
// its hash is kept. It fails with ErrDenied where this device's own admission has not arrived.
func (f *Folder) Invite() (secret [32]byte, err error) {
	f.mu.Lock()
	err = f.changeable("invite")
	f.mu.Unlock()
	if err != nil {
		return secret, err
	}
	rand.Read(secret[:])
	b := f.home.db.Batch()
	b.Set(f.inviteKey(secret), encode(invitation{Expires: nowTime().Add(inviteFor).Unix()}))
	if err := f.home.db.Commit(b); err != nil {
		return secret, storage("invite", f.grant.Name, err)
	}
	return secret, storage("invite", f.grant.Name, f.home.db.Sync())
}

// Redeem admits a device that proved a ticket's secret, and returns what it
// needs. It fails with ErrTicketUnknown, ErrTicketUsed or ErrTicketExpired, and with ErrDenied
// where this device's own admission has not arrived, or was lost with its power. A device that
// redeems its own ticket again, say because its connection was cut, gets the same answer.
func (f *Folder) Redeem(secret [32]byte, d Device, name string) (Grant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.changeable("redeem"); err != nil {
		return Grant{}, err
	}
	key := f.inviteKey(secret)
	v, ok, err := f.home.db.Get(key)
	if err != nil {
		return Grant{}, storage("redeem", f.grant.Name, err)
	}
	var inv invitation
	if !ok || decode(v, &inv) != nil {
		return Grant{}, fail("redeem", f.grant.Name, ErrTicketUnknown, nil)
	}
	if !inv.Device.IsZero() && !fault.On("crdt-reuse-tickets") {
		if subtle.ConstantTimeCompare(inv.Device[:], d[:]) == 1 {
			return f.grant, nil
		}
		return Grant{}, fail("redeem", f.grant.Name, ErrTicketUsed, nil)
	}
	if nowTime().Unix() > inv.Expires {
		return Grant{}, fail("redeem", f.grant.Name, ErrTicketExpired, nil)
	}
	if err := d.Check(); err != nil {
		return Grant{}, fail("redeem", f.grant.Name, ErrInvalid, err)
	}
	if !validName(name) {
		name = d.Short()
	}
	tx := &Tx{f: f, b: f.home.db.Batch()}
	inv.Device = d
	tx.b.Set(key, encode(inv))
	if err := tx.add(op{Admit: &admitOp{d, name}}); err != nil {
		return Grant{}, err
	}
	if tx.failed != nil {
		return Grant{}, f.disown(tx.failed)
	}
	if err := f.commit(tx.b); err != nil {
		return Grant{}, err
	}
	if err := f.sealLocked(); err != nil {
		return Grant{}, err
	}
	return f.grant, storage("redeem", f.grant.Name, f.home.db.Sync())
}

// Admitted reports whether a device is a member of the folder.
func (f *Folder) Admitted(d Device) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, ok := f.members[d]
	return ok
}

// Devices lists the members, this device first.
func (f *Folder) Devices() []DeviceInfo {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.devices()
}
