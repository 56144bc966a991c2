package peer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer/wire"
	"github.com/zeebo/blake3"
)

// Timing of connections: a peer that vanishes is noticed within idleTimeout.
const (
	idleTimeout      = 4 * time.Second
	keepAlive        = time.Second
	handshakeTimeout = 3 * time.Second
	helloTimeout     = 5 * time.Second // for a caller to say who it is and what it wants
)

// identity is the device's key as TLS wants it.
type identity struct {
	device crdt.Device
	cert   tls.Certificate
	reset  quic.StatelessResetKey

	protocols []string // the languages that it speaks, best first
}

func newIdentity(priv ed25519.PrivateKey) (*identity, error) {
	// The certificate only carries the key: nobody checks its names, dates or signature.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, priv.Public(), priv)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	id := &identity{
		device: crdt.Device(priv.Public().(ed25519.PublicKey)),
		cert:   tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv},

		protocols: []string{wire.ALPN2, wire.ALPN},
	}
	// Kept over restarts, so that peers of the process before learn at once that it is gone.
	blake3.DeriveKey("sheaf 2026-01 stateless resets v1", priv.Seed(), id.reset[:])
	return id, nil
}

// serverTLS accepts every device: whether it is admitted is decided after the handshake,
// because a ticket can make up for it.
func (id *identity) serverTLS() *tls.Config {
	c := id.baseTLS()
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := deviceOf(cs)
		return err
	}
	return c
}

// clientTLS accepts one device only.
func (id *identity) clientTLS(want crdt.Device) *tls.Config {
	c := id.baseTLS()
	c.InsecureSkipVerify = true // VerifyConnection compares the key instead
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		got, err := deviceOf(cs)
		if err == nil && got != want {
			err = fmt.Errorf("%w: device %s answered", ErrWrongDevice, got.Short())
		}
		return err
	}
	return c
}

func (id *identity) baseTLS() *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{id.cert},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             id.protocols,
		SessionTicketsDisabled: true,
	}
}

// deviceOf returns the device at the other end of a handshake that proved its key.
func deviceOf(cs tls.ConnectionState) (crdt.Device, error) {
	if len(cs.PeerCertificates) != 1 {
		return crdt.Device{}, fmt.Errorf("%d certificates instead of one", len(cs.PeerCertificates))
	}
	pub, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || len(pub) != ed25519.PublicKeySize {
		return crdt.Device{}, errors.New("certificate without an Ed25519 key")
	}
	d := crdt.Device(pub)
	// A small-order key verifies signatures that nobody made.
	return d, d.Check()
}

func quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:       handshakeTimeout,
		MaxIdleTimeout:             idleTimeout,
		KeepAlivePeriod:            keepAlive,
		EnableDatagrams:            true,
		MaxIncomingStreams:         maxStreams,
		MaxIncomingUniStreams:      maxFolders,
		InitialStreamReceiveWindow: 2 << 20,
		MaxStreamReceiveWindow:     laneBytes,
		// Larger than all that the lanes ask for at once: objects that are slow to be
		// stored can never use up what entries need.
		InitialConnectionReceiveWindow: lanes*laneBytes + 8<<20,
		MaxConnectionReceiveWindow:     lanes*laneBytes + 16<<20,
	}
}
