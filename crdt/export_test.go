package crdt

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fxamacker/cbor/v2"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// SetJustStored shortens for how long a new object is left alone, until the function that it
// returns is called.
func SetJustStored(d time.Duration) (restore func()) {
	was := justStored
	justStored = d
	return func() { justStored = was }
}

// SetFlushDelay says how long a change may wait before it is sealed and durable, until the
// function that it returns is called.
func SetFlushDelay(d time.Duration) (restore func()) {
	was := flushDelay
	flushDelay = d
	return func() { flushDelay = was }
}

// SetStalled says how long a first view waits for what it lacks, until the function that it
// returns is called.
func SetStalled(d time.Duration) (restore func()) {
	was := stalled
	stalled = d
	return func() { stalled = was }
}

// SetAtLength has fn run where something begins that takes long and that nobody waits for, until
// the function that it returns is called.
func SetAtLength(fn func()) (restore func()) {
	was := atLength
	atLength = fn
	return func() { atLength = was }
}

// SetMakeTexts says for how long texts are read for a checkpoint, until the function that it
// returns is called.
func SetMakeTexts(d time.Duration) (restore func()) {
	was := makeTexts
	makeTexts = d
	return func() { makeTexts = was }
}

// SetWorth says how much there must be for a checkpoint to be made, until the function that it
// returns is called.
func SetWorth(n int) (restore func()) {
	nodes, entries := worthNodes, worthEntries
	worthNodes, worthEntries = n, uint64(n)
	return func() { worthNodes, worthEntries = nodes, entries }
}

// AwaitConfirm waits until a first view that can be confirmed is.
func (f *Folder) AwaitConfirm() { f.confirming.Wait() }

// SetMaxWaiting says how many operations wait in memory, until the function that it returns is
// called.
func SetMaxWaiting(n int) (restore func()) {
	was := maxWaiting
	maxWaiting = n
	return func() { maxWaiting = was }
}

// SetMaxTold says how many heads an entry names, until the function that it returns is called.
func SetMaxTold(n int) (restore func()) {
	was := maxTold
	maxTold = n
	return func() { maxTold = was }
}

// Waiting is how many operations wait in memory, and whether any may in the database.
func (f *Folder) Waiting() (inMemory int, more bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.shelf.count + f.tree.Waiting(), f.shelf.filter != nil
}

// Shelved is how many operations the database has that wait, or did.
func (f *Folder) Shelved() (n int, err error) {
	err = f.home.db.Scan(f.key('w'), func(_, _ []byte) error { n++; return nil })
	return n, err
}

// LoseRecords damages the database: what is kept of the entries is gone, and they are not.
func (f *Folder) LoseRecords() error {
	b := f.home.db.Batch()
	b.DeletePrefix(f.key('r'))
	return f.home.db.Commit(b)
}

// On returns options for a home whose database is on another disk.
func (o Options) On(disk vfs.FS) Options {
	o.db.FS = disk
	return o
}

// Newer returns options for a home of the sheaf after this one. It knows rules 2, which it needs for
// every event on several versions, for modes, and for what Newer writes.
func (o Options) Newer() Options {
	o.speaks = &language{rules: 2, encode: encodeNewer, decode: decodeNewer}
	return o
}

// IsNewer reports whether a home is one of Newer.
func (h *Home) IsNewer() bool { return h.speaks.rules > Rules }

// Numbered is a payload that begins with the number of the rules that it takes.
func Numbered(rules uint64, elements ...any) []byte {
	return encode(append([]any{rules}, elements...))
}

func encodeNewer(ops []op) []byte {
	numbered, all := false, make([]any, len(ops))
	for i, o := range ops {
		all[i] = o
		switch {
		case o.Admit != nil || o.Found != nil:
			return encodeOps(ops)
		case o.Text != nil:
			ev, err := text.DecodeEvent(o.Text.Event)
			numbered = numbered || err == nil && len(ev.Parents) > 1
		case o.Tree != nil:
			numbered = numbered || o.Tree.Do == tree.OpMode
		}
	}
	if !numbered {
		return encodeOps(ops)
	}
	return Numbered(2, all...)
}

func decodeNewer(plain []byte) ([]op, error) {
	if n, ok := leadingNumber(plain); !ok || n != 2 {
		return decodeOps(plain)
	}
	var all []cbor.RawMessage
	if err := opsMode.Unmarshal(plain, &all); err != nil {
		return nil, err
	}
	ops := make([]op, len(all)-1)
	for i := range ops {
		if err := opsMode.Unmarshal(all[i+1], &ops[i]); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

// Key is what the payloads of the folder's entries are encrypted with.
func (f *Folder) Key() feed.Key { return f.grant.Key }

// Lie is a checkpoint that is well made and not true.
type Lie struct {
	f          *Folder
	renamed    [2]string
	size, text NodeID
	claimed    int64
	said       string

	// Told says that the checkpoint has it: of a file whose object is absent here, and which
	// shows an older text until it comes, a checkpoint has the object.
	Told bool
}

// Rename says that a node has another name, of the same length.
func (l *Lie) Rename(from, to string) { l.renamed = [2]string{from, to} }

// Text says that a file has another text.
func (l *Lie) Text(path, text string) { l.text, l.said = l.node(path), text }

// Size says that a text has another size.
func (l *Lie) Size(path string, size int64) { l.size, l.claimed = l.node(path), size }

func (l *Lie) node(path string) NodeID {
	i, err := l.f.Resolve(path)
	if err != nil {
		panic(err)
	}
	return i.Node
}

// FalseCheckpoint makes one, or none where Folder.MakeCheckpoint makes none.
func FalseCheckpoint(t testing.TB, f *Folder, lie func(*Lie)) (header, body []byte) {
	l := &Lie{f: f}
	lie(l)
	snapshot, frontier, err := f.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if snapshot == nil {
		return nil, nil
	}
	shown := snapshot.Encode()
	if l.renamed[0] != "" {
		shown = bytes.ReplaceAll(shown, []byte(l.renamed[0]), []byte(l.renamed[1]))
	}
	plain, err := withTexts(context.Background(), shown, func(n *tree.Info, carried int) (int64, string, error) {
		size, text, err := f.sizeAndText(n, carried)
		if n.Node == l.size {
			size = l.claimed
		}
		if n.Node == l.text {
			size, text, l.Told = int64(len(l.said)), l.said, true
		}
		return size, text, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if header, body, err = f.sign(plain, frontier); err != nil {
		t.Fatal(err)
	}
	return header, body
}

// OpenPlain unpacks what a checkpoint says.
func OpenPlain(b []byte) error {
	_, err := openPlain(b, 1)
	return err
}

// Plain is what a checkpoint of a folder says.
func Plain(t testing.TB, f *Folder) []byte {
	shown, _, err := f.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := withTexts(context.Background(), shown.Encode(), f.sizeAndText)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
