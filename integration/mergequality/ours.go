package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/crdt/feed"
)

// pair is a folder on two devices.
type pair struct {
	dir     string
	devices [2]device
	files   int
}

type device struct {
	home   *crdt.Home
	folder *crdt.Folder
	sent   uint64 // in the order of this device: what the other has
}

func newPair() (p *pair, err error) {
	p = &pair{}
	root := "/dev/shm" // in memory where there is such a place: this is not about disks
	if _, err := os.Stat(root); err != nil {
		root = ""
	}
	if p.dir, err = os.MkdirTemp(root, "mergequality-"); err != nil {
		return nil, err
	}
	for i, name := range []string{"anna", "bert"} {
		p.devices[i].home, err = crdt.Init(filepath.Join(p.dir, name), crdt.Options{DeviceName: name, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			p.close()
			return nil, err
		}
	}
	a, b := &p.devices[0], &p.devices[1]
	if a.folder, err = a.home.CreateFolder("merges"); err == nil {
		var secret [32]byte
		var grant crdt.Grant
		if secret, err = a.folder.Invite(); err == nil {
			if grant, err = a.folder.Redeem(secret, b.home.Device(), b.home.DeviceName()); err == nil {
				b.folder, err = b.home.JoinFolder(grant)
			}
		}
	}
	if err == nil {
		err = p.send(0)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pair) close() {
	for _, d := range p.devices {
		if d.home != nil {
			d.home.Close()
		}
	}
	os.RemoveAll(p.dir)
}

// send gives the other device what it lacks of one's entries.
func (p *pair) send(from int) error {
	d := &p.devices[from]
	for {
		ls, err := d.folder.Since(d.sent, 1000)
		if err != nil || len(ls) == 0 {
			return err
		}
		var es []*feed.Entry
		for _, l := range ls {
			es = append(es, l.Entry)
			d.sent = l.Order
		}
		if _, err := p.devices[1-from].folder.Receive(es); err != nil {
			return err
		}
	}
}

// create makes a file with a text on the first device.
func (p *pair) create(text string) (n crdt.NodeID, v crdt.Version, err error) {
	p.files++
	err = p.devices[0].folder.Update(func(tx *crdt.Tx) error {
		n, v, err = tx.Create(crdt.Root, fmt.Sprint(p.files), 0o644, crdt.NewContent{Text: text})
		return err
	})
	return n, v, err
}

// save makes a writer's saves on one device, each from what the one before left.
func (p *pair) save(on int, n crdt.NodeID, v crdt.Version, saves []string) error {
	for _, s := range saves {
		err := p.devices[on].folder.Update(func(tx *crdt.Tx) (err error) {
			v, err = tx.Write(n, v, crdt.NewContent{Text: s})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stale merges the saves of two programs on one device: the second had read the base and saves
// when the first is done.
func (p *pair) stale(base string, saves [2][]string) (string, error) {
	n, v, err := p.create(base)
	if err != nil {
		return "", err
	}
	for side := range saves {
		if err := p.save(0, n, v, saves[side]); err != nil {
			return "", err
		}
	}
	return p.text(0, n)
}

// apart merges the saves of two devices that had the base when they parted.
func (p *pair) apart(base string, saves [2][]string) (string, error) {
	n, v, err := p.create(base)
	if err != nil {
		return "", err
	}
	if err := p.send(0); err != nil {
		return "", err
	}
	for side := range saves {
		if err := p.save(side, n, v, saves[side]); err != nil {
			return "", err
		}
	}
	for side := range saves {
		if err := p.send(side); err != nil {
			return "", err
		}
	}
	a, err := p.text(0, n)
	if err != nil {
		return "", err
	}
	b, err := p.text(1, n)
	if err == nil && a != b {
		err = fmt.Errorf("the two devices hold different texts after they reconnected")
	}
	return a, err
}

func (p *pair) text(on int, n crdt.NodeID) (string, error) {
	c, err := p.devices[on].folder.Content(n)
	return c.Text, err
}
