package integration

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// work is a program that does one thing with plain system calls and prints how many
// nanoseconds it took.
func work(args []string) int {
	took, err := do(args[0], args[1], args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(took.Nanoseconds())
	return 0
}

func do(what, path string, args []string) (time.Duration, error) {
	n := 0
	if len(args) > 0 {
		n, _ = strconv.Atoi(args[0])
	}
	switch what {
	case "read":
		return timed(func() error { return readWhole(path, make([]byte, 128<<10)) })
	case "random":
		return readRandom(path, n)
	case "write":
		return writeFile(path, n)
	case "create":
		return timed(func() error { return createMany(path, n) })
	case "open":
		var list []string
		err := filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				list = append(list, p)
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		buf := make([]byte, 64<<10)
		return timed(func() error {
			for _, p := range list {
				if err := readWhole(p, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return 0, fmt.Errorf("no work %q", what)
}

func timed(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}

// readWhole opens a file, reads it to its end and closes it.
func readWhole(path string, buf []byte) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			unix.Close(fd)
			return err
		}
	}
}

// readRandom reads n pieces of 4 KiB at places of a file that are the same each time.
func readRandom(path string, n int) (time.Duration, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	buf := make([]byte, 4096)
	rnd := rand.New(rand.NewPCG(1, 2))
	return timed(func() error {
		for range n {
			if _, err := unix.Pread(fd, buf, rnd.Int64N(st.Size/4096)*4096); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeFile writes a file of n MiB, which are never the same.
func writeFile(path string, n int) (time.Duration, error) {
	b := make([]byte, 1<<20)
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rnd.Uint64())
	}
	return timed(func() error {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		for i := range n {
			binary.LittleEndian.PutUint64(b, uint64(i))
			if _, err := unix.Write(fd, b); err != nil {
				unix.Close(fd)
				return err
			}
		}
		return unix.Close(fd)
	})
}

// createMany makes n texts of 4 KiB, a hundred to a directory.
func createMany(dir string, n int) error {
	line := []byte("0000000000 some words that make a line of text, no two the same\n")
	b := make([]byte, 0, 4096)
	for i := range n {
		sub := filepath.Join(dir, strconv.Itoa(i/100))
		if i%100 == 0 {
			if err := unix.Mkdir(sub, 0o755); err != nil {
				return err
			}
		}
		for b = b[:0]; len(b)+len(line) <= 4096; {
			copy(line, fmt.Sprintf("%04d%06d", len(b), i))
			b = append(b, line...)
		}
		fd, err := unix.Open(filepath.Join(sub, strconv.Itoa(i)+".txt"), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		_, err = unix.Write(fd, b)
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
