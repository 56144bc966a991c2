// Package gguf reads the head of a GGUF model file: enough to say what it is
// and whether all of it is there, before native code is let at it.
//
// Everything in such a file is a stranger's: lengths are bounded before memory
// is taken, and whatever does not hold together is an error, never a panic.
package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"unicode/utf8"
)

// ErrFormat is the kind of every error that is about a file's content.
var ErrFormat = errors.New("not a whole GGUF model")

// Info is what a head says.
type Info struct {
	Architecture string // "llama", "qwen3", …
	Name         string // as its makers call it; may be empty
	Label        string // size, "135M"; may be empty
	License      string // may be empty
	FileType     int64  // quantisation, llama.cpp's number; -1 if unknown
	Context      int64  // tokens it was trained for; 0 if unknown
	Template     bool   // it has a chat template
	Tensors      int
}

// Description is the facts in a few words.
func (i Info) Description() string {
	quant := map[int64]string{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
		13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16"}[i.FileType]
	return strings.Join(strings.Fields(i.Architecture+" "+i.Label+" "+quant), " ")
}

const (
	maxPairs   = 1 << 16
	maxTensors = 1 << 16
	maxDims    = 8
	maxKey     = 1 << 12 // bytes
	maxKept    = 1 << 16 // bytes of a value that is kept
	maxHead    = 1 << 28 // bytes of everything before the tensors
)

// Read reads the head of a file and checks that its tensors lie inside it.
func Read(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	if !st.Mode().IsRegular() {
		return Info{}, fmt.Errorf("%s: %w: not a file", path, ErrFormat)
	}
	info, err := Parse(f, st.Size())
	if err != nil {
		return info, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

// Parse is Read for a stream of size bytes.
func Parse(r io.Reader, size int64) (Info, error) {
	p := &parser{in: bufio.NewReaderSize(r, 256<<10), left: min(size, maxHead)}
	info := p.head(size)
	return info, p.err
}

// parser remembers the first error; after it every read is zero.
type parser struct {
	in   *bufio.Reader
	left int64 // bytes that may still be read
	at   int64
	err  error
	buf  [8]byte
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
}

// take accounts for n bytes; it is false when there are not so many.
func (p *parser) take(n uint64) bool {
	if p.err != nil {
		return false
	}
	if n > uint64(p.left) {
		p.fail("it ends too early")
		return false
	}
	p.left -= int64(n)
	p.at += int64(n)
	return true
}

func (p *parser) bytes(b []byte) {
	if !p.take(uint64(len(b))) {
		clear(b)
		return
	}
	if _, err := io.ReadFull(p.in, b); err != nil {
		clear(b)
		p.fail("%v", err)
	}
}

func (p *parser) u32() uint32 {
	p.bytes(p.buf[:4])
	return binary.LittleEndian.Uint32(p.buf[:4])
}

func (p *parser) u64() uint64 {
	p.bytes(p.buf[:8])
	return binary.LittleEndian.Uint64(p.buf[:8])
}

func (p *parser) skip(n uint64) {
	for p.take(min(n, 1<<30)) && n > 0 {
		step := min(n, 1<<30)
		if _, err := p.in.Discard(int(step)); err != nil {
			p.fail("%v", err)
			return
		}
		n -= step
	}
}

// text returns the beginning of a string and skips the rest.
func (p *parser) text(keep uint64) string {
	n := p.u64()
	b := make([]byte, min(n, keep, uint64(max(p.left, 0))))
	p.bytes(b)
	if n > uint64(len(b)) {
		p.skip(n - uint64(len(b)))
	}
	return string(b)
}

// Value types of the format.
const (
	typeUint8, typeInt8, typeUint16, typeInt16   = 0, 1, 2, 3
	typeUint32, typeInt32, typeFloat32, typeBool = 4, 5, 6, 7
	typeString, typeArray                        = 8, 9
	typeUint64, typeInt64, typeFloat64           = 10, 11, 12
)

var sizes = map[uint32]uint64{typeUint8: 1, typeInt8: 1, typeUint16: 2, typeInt16: 2, typeUint32: 4, typeInt32: 4,
	typeFloat32: 4, typeBool: 1, typeUint64: 8, typeInt64: 8, typeFloat64: 8}

// value reads a value and returns it if it is a string or an integer.
func (p *parser) value(t uint32, depth int) (s string, n int64) {
	switch t {
	case typeString:
		return p.text(maxKept), 0
	case typeUint32:
		return "", int64(p.u32())
	case typeInt32:
		return "", int64(int32(p.u32()))
	case typeUint64, typeInt64:
		return "", int64(min(p.u64(), math.MaxInt64))
	case typeArray:
		et, count := p.u32(), p.u64()
		if size, ok := sizes[et]; ok {
			if count > maxHead {
				p.fail("an array of %d values", count)
				return "", 0
			}
			p.skip(count * size)
			return "", 0
		}
		if depth > 2 || (et != typeString && et != typeArray) {
			p.fail("an array of type %d", et)
			return "", 0
		}
		for ; count > 0 && p.err == nil; count-- {
			if et == typeString {
				p.text(0)
			} else {
				p.value(et, depth+1)
			}
		}
	default:
		size, ok := sizes[t]
		if !ok {
			p.fail("a value of type %d", t)
		}
		p.skip(size)
	}
	return "", 0
}

func (p *parser) head(size int64) Info {
	info := Info{FileType: -1}
	var magic [4]byte
	p.bytes(magic[:])
	if string(magic[:]) != "GGUF" {
		p.err = nil // the size does not matter then
		p.fail("it does not begin like one")
		return info
	}
	if v := p.u32(); v != 2 && v != 3 {
		p.fail("version %d", v)
	}
	tensors, pairs := p.u64(), p.u64()
	if pairs > maxPairs || tensors == 0 || tensors > maxTensors {
		p.fail("%d tensors, %d values", tensors, pairs)
	}
	align := int64(32)
	contexts := map[string]int64{}
	for ; pairs > 0 && p.err == nil; pairs-- {
		key := p.text(maxKey)
		s, n := p.value(p.u32(), 0)
		switch {
		case key == "general.architecture":
			info.Architecture = clean(s)
		case key == "general.name":
			info.Name = clean(s)
		case key == "general.size_label":
			info.Label = clean(s)
		case key == "general.license":
			info.License = clean(s)
		case key == "general.file_type":
			info.FileType = n
		case key == "general.alignment":
			align = n
		case key == "tokenizer.chat_template":
			info.Template = s != ""
		case key == "split.count" && n > 1:
			p.fail("one of %d parts", n)
		case strings.HasSuffix(key, ".context_length"):
			contexts[key] = n
		}
	}
	info.Context = contexts[info.Architecture+".context_length"]
	if align < 1 || align > 1<<20 {
		p.fail("an alignment of %d", align)
		return info
	}
	info.Tensors = int(min(tensors, maxTensors))
	last := uint64(0)
	for ; tensors > 0 && p.err == nil; tensors-- {
		p.text(0)
		dims := p.u32()
		if dims > maxDims {
			p.fail("a tensor of %d dimensions", dims)
			break
		}
		p.skip(8 * uint64(dims))
		p.u32()
		last = max(last, p.u64())
	}
	start := (p.at + align - 1) / align * align
	// The last tensor has at least one block; what it takes to the byte depends
	// on quantisations that this package need not know.
	if p.err == nil && (start >= size || last >= uint64(size-start)) {
		p.fail("it ends before its last tensor")
	}
	if p.err == nil && info.Architecture == "" {
		p.fail("no architecture")
	}
	return info
}

// clean makes a stranger's string fit for a line of a terminal.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100])
	}
	return strings.TrimSpace(s)
}
