package rig

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"testing"
)

// Net is one network that devices are plugged into, each in a namespace of its own.
type Net struct {
	t     testing.TB
	hub   *Namespace // holds the bridge
	count int
}

// Namespace is a network namespace. It lives as long as a process in it does, so
// nothing is left behind; a mount made in it is seen from everywhere (ip netns exec
// would hide it).
type Namespace struct {
	net    *Net
	holder *exec.Cmd
	stdin  io.Closer
	port   string // the bridge's end of the cable
	IP     string
}

// NewNet makes an empty network.
func NewNet(t testing.TB) *Net {
	t.Helper()
	n := &Net{t: t}
	n.hub = n.hold()
	n.must(n.hub, "ip", "link", "add", "br0", "type", "bridge")
	n.must(n.hub, "ip", "link", "set", "br0", "up")
	return n
}

// Namespace adds a namespace to the network, or is nil for no network.
func (n *Net) Namespace() *Namespace {
	if n == nil {
		return nil
	}
	n.t.Helper()
	ns := n.hold()
	n.count++
	ns.port, ns.IP = fmt.Sprintf("port%d", n.count), fmt.Sprintf("10.77.0.%d", n.count)
	n.must(n.hub, "ip", "link", "add", ns.port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(ns.holder.Process.Pid))
	n.must(n.hub, "ip", "link", "set", ns.port, "master", "br0", "up")
	n.must(ns, "ip", "link", "set", "lo", "up")
	n.must(ns, "ip", "addr", "add", ns.IP+"/24", "dev", "eth0")
	n.must(ns, "ip", "link", "set", "eth0", "up")
	n.must(ns, "ip", "route", "add", "default", "dev", "eth0")
	return ns
}

func (n *Net) hold() *Namespace {
	n.t.Helper()
	cmd := exec.Command("unshare", "--net", "cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	ns := &Namespace{net: n, holder: cmd, stdin: stdin}
	n.t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	// What cat gives back was written after unshare had done its work.
	if _, err := io.WriteString(stdin, "x"); err != nil {
		n.t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		n.t.Fatal(err)
	}
	return ns
}

func (n *Net) must(ns *Namespace, argv ...string) {
	n.t.Helper()
	if err := run(ns.wrap(argv)...); err != nil {
		n.t.Fatal(err)
	}
}

// wrap makes a command run in the namespace, as the same process.
func (ns *Namespace) wrap(argv []string) []string {
	if ns == nil {
		return argv
	}
	return append([]string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", ns.holder.Process.Pid), "--"}, argv...)
}

// Cut pulls the device's cable.
func (d *Device) Cut() {
	d.t.Helper()
	d.ns.net.must(d.ns.net.hub, "ip", "link", "set", d.ns.port, "down")
}

// Mend puts the cable back.
func (d *Device) Mend() {
	d.t.Helper()
	d.ns.net.must(d.ns.net.hub, "ip", "link", "set", d.ns.port, "up")
}

// IP is the device's address on its network.
func (d *Device) IP() string {
	if d.ns == nil {
		return "127.0.0.1"
	}
	return d.ns.IP
}
