package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/peer/lan"
)

// Options of a Node. The zero value listens on all interfaces.
type Options struct {
	// Listen is where to listen, "addr:port" of UDP. If it is empty, that is all interfaces
	// and the port of the last time, so that addresses in tickets stay good.
	Listen []string
	Logger *slog.Logger // nil: silent
	LAN    bool         // find members' devices on the local network

	// Open, if not nil, lists the files of a folder that programs have open here, in an order
	// that stays, those first that matter most. It is called twice a second for each connected
	// device, from any goroutine; what it lists is told to the folder's devices.
	Open func(crdt.FolderID) []OpenFile
}

// Limits of what a peer, or someone who is none, can make us keep.
const (
	maxFolders   = 1024 // sync streams on one connection
	maxStreams   = 16   // other streams on one connection
	maxCallers   = 64   // strangers that are heard out at a time
	maxStrangers = 1024 // remembered so that each is logged once
)

// refreshEvery is how often folders, members and interfaces are looked over for changes
// that nothing announced.
const refreshEvery = time.Second

// rememberEvery is how often it is written down what peers hold, in case the process dies.
const rememberEvery = 15 * time.Second

// Node connects a home with the other devices of its folders. It is safe for concurrent use.
type Node struct {
	home  *crdt.Home
	log   *slog.Logger
	id    *identity
	ends  []*endpoint
	fetch *fetcher
	inUse func(crdt.FolderID) []OpenFile // Options.Open

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the node
	wake   chan struct{}  // for manage
	calls  chan struct{}  // one token for each stranger that is heard out

	mu        sync.Mutex
	closed    bool
	folders   map[crdt.FolderID]*shared
	remotes   map[crdt.Device]*remote
	links     map[crdt.Device]*link
	strangers map[crdt.Device]struct{}
	doubtful  map[pairing]bool
	seenAs    []string      // our addresses as others see them
	changed   chan struct{} // closed, and replaced, when what Status or SyncWait look at changes
}

// shared is a folder of the home, as the node keeps it.
type shared struct {
	*crdt.Folder
	inviter crdt.Device // to be believed until the entries that say who is admitted have come
	self    crdt.Device
	cancel  func() // ends the subscription

	mu       sync.Mutex
	sessions map[*session]struct{}
	rest     rest
	asker    *session                  // that asked for a checkpoint
	made     map[crdt.Device]time.Time // when a checkpoint was last made for a device
	making   sync.Mutex                // held while a checkpoint is made
}

// pairing is a folder as it is shared with one device.
type pairing struct {
	folder crdt.FolderID
	device crdt.Device
}

// allows reports whether d may sync the folder.
func (f *shared) allows(d crdt.Device) bool {
	return f.Admitted(d) || d == f.inviter && !f.Admitted(f.self)
}

// each calls fn for every session of the folder.
func (f *shared) each(fn func(*session)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.sessions {
		fn(s)
	}
}

// New starts the node of a home. Close it before the home.
func New(h *crdt.Home, o Options) (*Node, error) {
	id, err := newIdentity(h.PrivateKey())
	if err != nil {
		return nil, err
	}
	n := &Node{
		home:      h,
		log:       o.Logger,
		id:        id,
		inUse:     o.Open,
		wake:      make(chan struct{}, 1),
		calls:     make(chan struct{}, maxCallers),
		folders:   map[crdt.FolderID]*shared{},
		remotes:   map[crdt.Device]*remote{},
		links:     map[crdt.Device]*link{},
		strangers: map[crdt.Device]struct{}{},
		doubtful:  map[pairing]bool{},
		changed:   make(chan struct{}),
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.fetch = newFetcher(n)
	if err := n.listen(o.Listen); err != nil {
		n.cancel()
		return nil, err
	}
	n.refresh()
	for _, e := range n.ends {
		n.spawn(func() { n.accept(e) })
	}
	n.spawn(n.manage)
	if o.LAN {
		n.spawn(n.discover)
	}
	return n, nil
}

// spawn runs fn in a goroutine that Close waits for; it reports whether the node still takes
// new ones.
func (n *Node) spawn(fn func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.spawnLocked(fn)
}

func (n *Node) spawnLocked(fn func()) bool {
	if n.closed {
		return false
	}
	n.wg.Go(fn)
	return true
}

// Close ends all connections and waits for every goroutine of the node. It is idempotent.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		n.wg.Wait()
		return nil
	}
	n.closed = true
	for _, l := range n.links {
		l.close(codeDone, ErrClosed)
	}
	n.mu.Unlock()
	n.cancel()
	var errs []error
	for _, e := range n.ends {
		errs = append(errs, e.close())
	}
	n.wg.Wait()
	n.fetch.close()
	for _, f := range n.folders {
		f.cancel()
	}
	for _, r := range n.remotes {
		r.store(n)
	}
	return errors.Join(errs...)
}

// poke makes manage look everything over.
func (n *Node) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// manage notices new folders, members and networks.
func (n *Node) manage() {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	remember := time.NewTicker(rememberEvery)
	defer remember.Stop()
	network := interfaceAddrs()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.wake:
		case <-remember.C:
			n.remember()
		case <-tick.C:
			if now := interfaceAddrs(); !slices.Equal(now, network) {
				n.log.Info("the network changed", "addresses", now)
				network = now
				n.networkChanged()
			}
			n.compareAtRest()
		}
		n.refresh()
	}
}

// remember writes down what peers are known to hold.
func (n *Node) remember() {
	n.mu.Lock()
	var ss []*session
	for _, f := range n.folders {
		f.each(func(s *session) { ss = append(ss, s) })
	}
	n.mu.Unlock()
	for _, s := range ss {
		s.remember()
	}
}

// refresh brings folders, known devices and sessions in line with what the home says.
func (n *Node) refresh() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	for _, f := range n.home.Folders() {
		n.shareLocked(f)
	}
	for _, f := range n.folders {
		for _, d := range f.Devices() {
			if !d.Self {
				n.remoteLocked(d.Device)
			}
		}
		if !f.inviter.IsZero() && f.allows(f.inviter) {
			n.remoteLocked(f.inviter)
		}
	}
	for _, l := range n.links {
		l.openSessions()
		if time.Since(l.began) > forgivenAfter {
			l.remote.settled()
		}
	}
}

// shareLocked takes up a folder that is new to the node.
func (n *Node) shareLocked(f *crdt.Folder) *shared {
	if s := n.folders[f.ID()]; s != nil {
		return s
	}
	s := &shared{Folder: f, self: n.id.device, sessions: map[*session]struct{}{}}
	n.load(inviterKey(f.ID()), &s.inviter)
	s.cancel = f.Subscribe(func(x crdt.Notice) {
		s.each(func(t *session) { t.kick(dirtyPush) })
		if !x.Local {
			n.poke() // devices may have been admitted
		}
		if !x.Local && x.Entries == 0 {
			n.announce() // a first view may have ended
		}
	})
	n.folders[f.ID()] = s
	return s
}

// folder returns a folder by its id, nil if it is not here.
func (n *Node) folder(id crdt.FolderID) *shared {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.folders[id]; s != nil {
		return s
	}
	f, err := n.home.Folder(id)
	if err != nil || n.closed {
		return nil
	}
	return n.shareLocked(f)
}

// member reports whether d may sync any folder here.
func (n *Node) member(d crdt.Device) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.folders {
		if f.allows(d) {
			return true
		}
	}
	return false
}

// doubt notes that a device sent entries that do not follow what it should know of us. Either
// it breaks the rules, or somewhere a feed was forked, and heads do not tell what is held.
// It is dropped, and the next time asked for everything.
func (n *Node) doubt(f crdt.FolderID, d crdt.Device) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doubtful[pairing{f, d}] = true
}

// doubts reports, once, whether there was a doubt.
func (n *Node) doubts(f crdt.FolderID, d crdt.Device) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := pairing{f, d}
	was := n.doubtful[p]
	delete(n.doubtful, p)
	return was
}

// announce tells Status and SyncWait that something changed.
func (n *Node) announce() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.announceLocked()
}

// movedLocked makes every session tell its peer where the others are.
func (n *Node) movedLocked() {
	for _, f := range n.folders {
		f.each(func(s *session) { s.kick(dirtyPeers) })
	}
}

func (n *Node) announceLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// accept takes calls at one endpoint. Only so many strangers are heard out at a time; there
// is always room for members.
func (n *Node) accept(e *endpoint) {
	for {
		c, err := e.listener.Accept(n.ctx)
		if err != nil {
			return
		}
		ok := n.spawn(func() {
			l, err := n.answer(c)
			if err != nil {
				n.log.Debug("a call came to nothing", "addr", c.RemoteAddr(), "err", err)
				return
			}
			l.run()
		})
		if !ok {
			c.CloseWithError(codeDone, "")
		}
	}
}

// turnAway closes a connection of a device that is not admitted, and logs each such device
// once.
func (n *Node) turnAway(c *quic.Conn, d crdt.Device) error {
	c.CloseWithError(codeStranger, "")
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.strangers[d]; !ok {
		if len(n.strangers) >= maxStrangers {
			clear(n.strangers)
		}
		n.strangers[d] = struct{}{}
		n.log.Info("turned a stranger away", "device", d, "addr", c.RemoteAddr())
	}
	return fmt.Errorf("stranger %s", d.Short())
}

// discover finds members' devices on the local network.
func (n *Node) discover() {
	c := lan.Config{
		Device: n.id.device,
		Folders: func() (ids []crdt.FolderID) {
			n.mu.Lock()
			defer n.mu.Unlock()
			for id := range n.folders {
				ids = append(ids, id)
			}
			return ids
		},
		Found: func(id crdt.FolderID, d crdt.Device, addr string) {
			if f := n.folder(id); f != nil && f.allows(d) {
				r := n.remote(d)
				n.learn(r, addr)
				if !n.linked(d) {
					r.retry() // it is near, whatever led nowhere before
				}
			}
		},
		Logger: n.log,
	}
	for _, e := range n.ends {
		if !e.local.Addr().IsLoopback() {
			c.Ports = append(c.Ports, e.local.Port())
		}
	}
	if err := lan.Run(n.ctx, c); err != nil {
		n.log.Warn("devices on the local network are not found", "err", err)
	}
}

// Addrs returns the addresses that the node can be reached at, as far as it knows, best first.
func (n *Node) Addrs() []string {
	var as []string
	add := func(a string) {
		if dialable(a) && !slices.Contains(as, a) {
			as = append(as, a)
		}
	}
	for _, e := range n.ends {
		for _, a := range e.addrs() {
			add(a)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.seenAs {
		add(a)
	}
	return as[:min(len(as), maxOwnAddrs)]
}

// noteSeenAs remembers how others see us: behind a NAT that is the address to be called at.
func (n *Node) noteSeenAs(addr string) {
	ap, err := net.ResolveUDPAddr("udp", addr)
	if err != nil || ap.IP.IsLoopback() || !dialable(addr) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.seenAs, addr) {
		n.seenAs = append([]string{addr}, n.seenAs...)
		n.seenAs = n.seenAs[:min(len(n.seenAs), 4)]
	}
}
