package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/fault"
	"github.com/sheaf-fs/sheaf/fs/guardian"
	"github.com/sheaf-fs/sheaf/infer"
	"github.com/sheaf-fs/sheaf/peer"
)

// Options say which home the daemon runs, and how.
type Options struct {
	Home    string // absolute
	Create  bool   // make the home if there is none
	Device  string // name of a new home's device; empty: the host's name
	Listen  string // UDP address for other devices, remembered; empty: as before
	Version string
	Log     io.Writer
}

// daemon is one run of a home.
type daemon struct {
	o    Options
	log  *slog.Logger
	home *crdt.Home
	node *peer.Node
	gd   *guardian.Guardian
	asks *infer.Service
	stop context.CancelFunc // ends Run

	ops sync.Mutex // held by operations that mount, unmount or make a folder

	mu     sync.Mutex // guards what follows
	mounts map[crdt.FolderID]*mounted
	errs   map[crdt.FolderID]*control.Error // why a folder is not mounted
}

// busyFor is how long a mount that programs still use is waited for at the end.
const busyFor = 3 * time.Second

// Run is the daemon: it returns when ctx ends or a person takes the home down, with
// everything unmounted, synced and closed. It calls ready once its socket answers.
func Run(ctx context.Context, o Options, ready func()) (err error) {
	defer func() { err = Explain(err) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	log := slog.New(slog.NewTextHandler(bounded(o.Log, o.Home), nil))
	d := &daemon{o: o, log: log, stop: stop,
		mounts: map[crdt.FolderID]*mounted{}, errs: map[crdt.FolderID]*control.Error{}}

	sampleAllocations()
	rest := sync.OnceFunc(workHard())
	defer rest()
	d.home, err = openHome(o, crdt.Options{DeviceName: o.Device, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.home.Close()) }()
	endProfiles, err := d.startProfiles()
	if err != nil {
		return err
	}
	defer endProfiles()
	if d.gd, err = d.startGuardian(); err != nil {
		return err
	}
	defer d.gd.Close()
	if d.node, err = d.startNode(); err != nil {
		return err
	}
	defer d.node.Close()
	endAsks, err := d.startAsks()
	if err != nil {
		return err
	}
	d.undoMaking()
	if !IsDown(o.Home) {
		d.mountAll()
	}
	defer d.unmountAll()
	rest()
	resting, endRest := context.WithCancel(ctx)
	defer endRest() // before the home is closed, which would wait for it
	go keepSmall(resting, func(ctx context.Context) {
		if err := d.home.Rest(ctx); err != nil {
			log.Warn("let go of memory", "err", err)
		}
	})
	defer endAsks() // while what it says in the files is still seen there, and sent

	defer d.startExpiry(ctx)()
	l, err := control.Listen(o.Home)
	if err != nil {
		return err
	}
	defer os.Remove(control.SocketPath(o.Home))
	s := control.NewServer(d.methods(), explain)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	log.Info("up", "pid", os.Getpid(), "version", o.Version, "device", d.home.Device().Short(), "listen", d.node.Addrs())
	ready()

	select {
	case <-ctx.Done():
	case err := <-served:
		return err
	}
	log.Info("going down")
	// A reply that is under way (that of down) still goes out.
	late, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.Shutdown(late) != nil {
		s.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// startGuardian starts the process that stands by the mounts. When this daemon dies it
// detaches them and starts the next one.
func (d *daemon) startGuardian() (*guardian.Guardian, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return guardian.Start(guardian.Options{
		Exe:     exe,
		Args:    []string{"guardian", "--home", d.o.Home},
		Restart: []string{exe, "daemon", "--home", d.o.Home, "--detach"},
		Alive: func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return !fault.On("daemon-hangs")
		},
		Logger: d.log,
	})
}

// startNode starts the peer node at the address that a person asked for, now or before;
// else the node picks a port and remembers it.
func (d *daemon) startNode() (*peer.Node, error) {
	var addr string
	if err := setting(d.home, settingListen, &addr); err != nil {
		return nil, err
	}
	was := addr
	if d.o.Listen != "" {
		addr = d.o.Listen
	}
	o := peer.Options{Logger: d.log, LAN: lan(), Open: d.tellsOpen()}
	if addr != "" {
		o.Listen = []string{addr}
	}
	node, err := peer.New(d.home, o)
	if err != nil {
		return nil, err
	}
	// Remembered only once it works.
	if addr != was {
		if err := setSetting(d.home, settingListen, addr); err != nil {
			return nil, errors.Join(err, node.Close())
		}
	}
	return node, nil
}

// lan reports whether devices may find each other on the local network.
func lan() bool { return os.Getenv("SHEAF_LAN") != "off" }

// methods are what the command can ask for.
func (d *daemon) methods() map[string]control.Handler {
	return map[string]control.Handler{
		control.MethodInit:   control.Handle(d.init),
		control.MethodInvite: control.Handle(d.invite),
		control.MethodJoin:   control.Handle(d.join),
		control.MethodUp:     control.Handle(d.up),
		control.MethodDown:   control.Handle(d.down),
		control.MethodStatus: control.Handle(d.status),
		control.MethodSync:   control.Handle(d.sync),
		control.MethodLog:    control.Handle(d.history),
		control.MethodTrust:  control.Handle(d.trust),
		control.MethodRules:  control.Handle(d.rules),
		control.MethodExport: control.Handle(d.export),
		control.MethodImport: control.Handle(d.importDocument),
		control.MethodCheck:  control.Handle(d.check),

		control.MethodDiff:    control.Handle(d.diff),
		control.MethodBlame:   control.Handle(d.blame),
		control.MethodRestore: control.Handle(d.restore),
		control.MethodUndo:    control.Handle(d.undo),
		control.MethodActions: control.Handle(d.actions),
		control.MethodExpire:  control.Handle(d.expire),

		control.MethodAsk:     control.HandleStream(d.ask),
		control.MethodAskFile: control.Handle(d.askFile),
	}
}
