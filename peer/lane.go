package peer

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/blob"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// The lanes of a link: streams on which objects are asked for. Small objects never queue up
// behind large ones.
const (
	laneSmall = iota
	laneLarge
	lanes
)

const (
	laneJobs  = 64      // slices asked for at once, on one lane
	laneBytes = 8 << 20 // and their bytes
	maxDenied = 1 << 16 // objects asked for in vain that are remembered

	// Sync streams always go first, so that what people type never waits for an object.
	urgencySync = 1
	urgencyBlob = 5
)

// lane asks one device for objects, several slices ahead.
type lane struct {
	link *link
	kind int
	wake chan struct{}

	flying []*job // in the order asked; guarded by the fetcher's mu
}

func newLane(l *link, kind int) *lane {
	return &lane{link: l, kind: kind, wake: make(chan struct{}, 1)}
}

// run asks, whenever there is something to ask for and room for the answers.
func (l *lane) run() {
	x := l.link.n.fetch
	x.mu.Lock()
	x.lanes[l] = struct{}{}
	x.mu.Unlock()
	var w *wire.Writer
	for l.link.conn.Context().Err() == nil {
		var j *job
		again := time.Hour
		if l.room() {
			j, again = x.take(l)
		}
		switch {
		case j == nil:
			select {
			case <-l.wake:
			case <-time.After(again):
			case <-l.link.conn.Context().Done():
			}
			continue
		case j.off < 0:
			x.mu.Lock()
			j.o.flying--
			x.mu.Unlock()
			x.finish(j.o)
			continue
		}
		l.fly(j)
		if w == nil {
			s, err := l.link.conn.OpenStreamSync(l.link.conn.Context())
			if err != nil {
				return
			}
			w = wire.NewWriter(s)
			l.link.spawn(func() { l.read(s) })
		}
		err := w.Write(&wire.Get{Folder: j.f.ID(), Hash: j.o.Hash, Size: j.o.Size, Off: j.off})
		if err != nil {
			l.link.fail(err)
			return
		}
	}
}

// fly notes that j was asked for.
func (l *lane) fly(j *job) {
	x := l.link.n.fetch
	x.mu.Lock()
	defer x.mu.Unlock()
	l.flying = append(l.flying, j)
}

// room reports whether more may be asked for.
func (l *lane) room() bool {
	x := l.link.n.fetch
	x.mu.Lock()
	defer x.mu.Unlock()
	var bytes int64
	for _, j := range l.flying {
		bytes += j.n
	}
	return len(l.flying) < laneJobs && bytes+wire.SliceSize <= laneBytes
}

// land returns the oldest job that was asked for.
func (l *lane) land() *job {
	x := l.link.n.fetch
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(l.flying) == 0 {
		return nil
	}
	j := l.flying[0]
	l.flying = l.flying[1:]
	return j
}

// read takes the answers in.
func (l *lane) read(s *quic.Stream) {
	defer s.CancelRead(0)
	defer s.Close()
	r := wire.NewReader(s)
	for {
		m, err := r.Read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = violation(errors.New("a blob stream was closed"))
			}
			l.link.fail(err)
			return
		}
		slice, ok := m.(*wire.Slice)
		if !ok {
			l.link.fail(violation(fmt.Errorf("%T on a blob stream", m)))
			return
		}
		j := l.land()
		if j == nil {
			l.link.fail(violation(errors.New("a slice that nobody asked for")))
			return
		}
		err = l.link.n.fetch.arrived(l.link, j, slice)
		select {
		case l.wake <- struct{}{}:
		default:
		}
		if err != nil {
			l.link.fail(err)
			return
		}
	}
}

// serveObjects answers the peer's questions on one blob stream, in order, one slice in
// memory at a time.
func (l *link) serveObjects(s *quic.Stream, r *wire.Reader, get *wire.Get) error {
	s.SetPriority(urgencyBlob, true)
	w := wire.NewWriter(s)
	for {
		if err := w.Write(l.slice(get)); err != nil {
			return err
		}
		m, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var ok bool
		if get, ok = m.(*wire.Get); !ok {
			return violation(fmt.Errorf("%T on a blob stream", m))
		}
	}
}

// slice returns what a Get asks for, if the device may have it and it is here.
func (l *link) slice(get *wire.Get) *wire.Slice {
	absent := &wire.Slice{Status: wire.StatusAbsent}
	s := l.session(get.Folder)
	if s == nil || !s.f.allows(l.device) {
		return absent
	}
	store := l.n.home.Objects()
	size, err := store.Size(blob.Hash(get.Hash))
	if err == nil && size != get.Size {
		return absent // whoever named it lied about its size
	}
	if err == nil {
		var data []byte
		if data, err = store.Slice(blob.Hash(get.Hash), get.Off, min(wire.SliceSize, size-get.Off)); err == nil {
			return &wire.Slice{Status: wire.StatusHere, Data: data}
		}
	}
	if !errors.Is(err, blob.ErrNotHere) {
		l.n.log.Error("an object could not be read", "hash", get.Hash, "err", err)
	}
	s.deny(get.Hash)
	return absent
}

// has reports whether an object is here.
func (n *Node) has(h crdt.Hash) bool { return n.home.Objects().Has(blob.Hash(h)) }
