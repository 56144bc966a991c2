package peer

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/peer/wire"
)

// Presence is which files the programs of a device have open. It is said in datagrams, on
// the connection that everything else takes and encrypted as it is, kept in memory only,
// and forgotten soon after it was last said. Nothing depends on it.

// OpenFile is a file that a program has open.
type OpenFile struct {
	Node    crdt.NodeID
	Writing bool   // or in an editor
	Program string // its name, empty if not known
}

const (
	// tellEvery is how often it is looked at what is open; changes are told then.
	tellEvery = 500 * time.Millisecond
	// tellAgain is how often what did not change is told, while anything is open.
	tellAgain = 2 * time.Second
	// tellLast is how often it is told that nothing is open any more: datagrams get lost.
	tellLast = 3
	// perTick is how many datagrams one tick sends on one connection, at most.
	perTick = 8
	// forgetAfter is how long what was heard counts.
	forgetAfter = 6 * time.Second
	// hearBurst and hearRate (in a second) are how many datagrams of one peer are looked
	// at. One that sends more is not listened to for deafFor.
	hearBurst = 64
	hearRate  = 2 * perTick * float64(time.Second/tellEvery)
	deafFor   = 10 * time.Second
)

// presence is what a link knows of it.
type presence struct {
	mu    sync.Mutex
	heard map[crdt.FolderID]heardOpen
}

type heardOpen struct {
	n     uint64
	at    time.Time
	files []OpenFile
}

// toldOpen is what was last said of one folder.
type toldOpen struct {
	files []OpenFile
	at    time.Time
	left  int // how often an empty list is still to be said
}

// Open lists the files of a folder that the programs of another device have open, as far
// as it said so in the last seconds.
func (n *Node) Open(f *crdt.Folder, d crdt.Device) []OpenFile {
	l := n.linkTo(d)
	if l == nil || l.session(f.ID()) == nil {
		return nil
	}
	l.presence.mu.Lock()
	defer l.presence.mu.Unlock()
	h, ok := l.presence.heard[f.ID()]
	if !ok || time.Since(h.at) > forgetAfter {
		return nil
	}
	return slices.Clone(h.files)
}

// tellPresence says what is open here, for as long as the connection lasts.
func (l *link) tellPresence() {
	if l.n.inUse == nil || !l.conn.ConnectionState().SupportsDatagrams.Remote {
		return
	}
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	told, number := map[crdt.FolderID]toldOpen{}, uint64(0)
	for {
		select {
		case <-l.conn.Context().Done():
			return
		case <-tick.C:
		}
		sent := 0
		for _, id := range l.shared() {
			if sent == perTick {
				break
			}
			files := l.n.inUse(id)
			files = files[:min(len(files), wire.MaxOpen)]
			now := time.Now()
			was, next, say := told[id], toldOpen{files: files, at: now, left: tellLast}, true
			switch {
			case !slices.Equal(was.files, files):
			case len(files) == 0:
				next.left, say = was.left-1, was.left > 0
			default:
				say = now.Sub(was.at) >= tellAgain
			}
			if !say {
				continue
			}
			number++
			if err := l.sayOpen(id, number, files); err != nil {
				l.n.log.Debug("presence not told", "device", l.device, "err", err)
				break
			}
			told[id] = next
			sent++
		}
	}
}

// shared lists the folders of the link.
func (l *link) shared() (ids []crdt.FolderID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.sessions {
		ids = append(ids, id)
	}
	return ids
}

func (l *link) sayOpen(id crdt.FolderID, number uint64, files []OpenFile) error {
	p := wire.Presence{Folder: id, N: number, Files: make([]wire.OpenFile, len(files))}
	for i, f := range files {
		p.Files[i] = wire.OpenFile{Node: f.Node, Writing: f.Writing, Program: wire.ProgramName(f.Program)}
	}
	b, err := p.Encode()
	if err != nil {
		return err
	}
	return l.conn.SendDatagram(b)
}

// hearPresence takes the peer's datagrams.
func (l *link) hearPresence() {
	budget := hearing{left: hearBurst}
	for {
		b, err := l.conn.ReceiveDatagram(l.conn.Context())
		if err != nil {
			return
		}
		now := time.Now()
		if !budget.allows(now) {
			continue
		}
		p, err := wire.DecodePresence(b)
		switch {
		case errors.Is(err, wire.ErrVersion):
		case err != nil:
			l.fail(violation(err))
			return
		default:
			l.heardPresence(p, now)
		}
	}
}

// heardPresence keeps what was said of a folder that is shared with the peer.
func (l *link) heardPresence(p *wire.Presence, now time.Time) {
	if l.session(p.Folder) == nil {
		return
	}
	files := make([]OpenFile, len(p.Files))
	for i, f := range p.Files {
		files[i] = OpenFile{Node: f.Node, Writing: f.Writing, Program: f.Program}
	}
	l.presence.mu.Lock()
	defer l.presence.mu.Unlock()
	h, ok := l.presence.heard[p.Folder]
	if ok && p.N <= h.n {
		return
	}
	if fault.On("peer-remember-presence") && len(files) < len(h.files) {
		files = h.files
	}
	l.presence.heard[p.Folder] = heardOpen{n: p.N, at: now, files: files}
}

// hearing bounds how much of what a peer says is looked at.
type hearing struct {
	left  float64
	at    time.Time
	until time.Time // deaf
}

func (h *hearing) allows(now time.Time) bool {
	if !h.at.IsZero() {
		h.left = min(hearBurst, h.left+now.Sub(h.at).Seconds()*hearRate)
	}
	h.at = now
	if now.Before(h.until) {
		return false
	}
	if h.left < 1 {
		h.until = now.Add(deafFor)
		return false
	}
	h.left--
	return true
}
