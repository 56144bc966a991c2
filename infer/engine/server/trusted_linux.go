package server

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// lastSystemUser is the highest user id that services have by convention.
const lastSystemUser = 999

// trusted reports whether what listens at an address of the loopback belongs to
// this user or to the system. On a machine with several people anyone may
// listen at a port that the usual server left free.
func trusted(address string) bool {
	port, err := strconv.ParseUint(address[strings.LastIndexByte(address, ':')+1:], 10, 16)
	if err != nil {
		return false
	}
	listening := false
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		in := bufio.NewScanner(f)
		for in.Scan() {
			uid, ok := listener(in.Text(), port)
			if !ok {
				continue
			}
			if uid > lastSystemUser && uid != os.Getuid() {
				f.Close()
				return false
			}
			listening = true
		}
		f.Close()
	}
	return listening
}

// listener reads a line of the kernel's table of TCP sockets.
func listener(line string, port uint64) (uid int, ok bool) {
	const listen = "0A"
	f := strings.Fields(line) // sl local remote st queues timer retransmits uid …
	if len(f) < 8 || f[3] != listen {
		return 0, false
	}
	p, err := strconv.ParseUint(f[1][strings.LastIndexByte(f[1], ':')+1:], 16, 16)
	if err != nil || p != port {
		return 0, false
	}
	uid, err = strconv.Atoi(f[7])
	return uid, err == nil
}
