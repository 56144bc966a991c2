package crdt

import (
	"time"

	"github.com/sheaf-fs/sheaf/crdt/feed"
	"github.com/sheaf-fs/sheaf/crdt/text"
	"github.com/sheaf-fs/sheaf/crdt/tree"
)

// The words of the packages below that users of a Folder need, so that they
// import this package alone.
type (
	NodeID   = tree.NodeID
	EventID  = tree.EventID
	Version  = tree.Version
	Kind     = tree.Kind
	Device   = feed.Device
	FolderID = feed.Folder
	Hash     = feed.Hash
)

// The kinds of nodes.
const (
	File    = tree.File
	Dir     = tree.Dir
	Symlink = tree.Symlink
)

// MaxText is the size in bytes above which content is kept as an object.
const MaxText = text.MaxText

// IsText reports whether content can be kept as a text.
func IsText(b []byte) bool { return text.IsText(b) }

// IsTextString is IsText for a string, without a copy.
func IsTextString(s string) bool { return text.IsTextString(s) }

// NewVersion is the version of these events and all that they build on.
func NewVersion(heads ...EventID) Version { return tree.NewVersion(heads...) }

// Root is the node of a folder's top directory.
var Root = tree.Root

// Object names content that is kept whole, not merged: a blob.
type Object struct {
	Hash Hash  `json:"hash"`
	Size int64 `json:"size"` // bytes
}

// Info describes a node as this device's programs see it.
type Info struct {
	Node    NodeID
	Kind    Kind
	Parent  NodeID
	Name    string // as shown, which may carry a suffix
	Mode    uint32 // permission bits, 07777
	Size    int64  // bytes
	Mtime   time.Time
	Target  string  // of a symlink
	Version Version // of a file's content
	Object  *Object // nil for a text
	Dirs    int     // how many directories a directory shows
	Alt     bool    // a version shown beside the one under the name: read only
	Beside  bool    // versions are shown beside this one

	MtimeSet bool // a program set Mtime; else it is when the content came into the folder here
}

// Content is what a file holds at a version.
type Content struct {
	Version Version
	Text    string
	Object  *Object // nil for a text
}

// Body is a text in pieces, which it shares with the texts it was made from: see text.Body.
type Body = text.Body

// Ends says how much two texts have in common at their start and at their end.
type Ends = text.Ends

// NewBody is a text in pieces that is valid UTF-8.
func NewBody(s string) *Body { return text.NewBody(s) }

// Holding is Content with the text in pieces, for who saves and compares texts of any size: who
// needs all of one in one string asks for Content, or copies it with Body.String.
type Holding struct {
	Version Version
	Body    *Body   // nil for the empty text
	Object  *Object // nil for a text
}

// NewContent is what a writer leaves: a text, or an object whose bytes are in
// the home's object store already.
type NewContent struct {
	Text   string
	Object *Object
}

// What says which sides of a node changed.
type What uint8

const (
	ContentChanged What = 1 << iota
	AttrChanged
	PlaceChanged // created, removed, renamed, or shown under another name
)

// Place is where a node is shown.
type Place struct {
	Dir     NodeID
	Name    string
	Visible bool // false: the node is not in the tree
}

// Change is what a Notice tells of one node.
type Change struct {
	Node          NodeID
	What          What
	Before, After Place
	Alt           bool // about a version shown beside the node's

	// Of a content change made by one Update of this device: the version that
	// its writer had read, and the one that it made. Saved is nil otherwise.
	Base, Saved Version
}

// Notice tells subscribers what one batch of operations changed.
type Notice struct {
	Local   bool
	Origin  any    // what UpdateAs was given
	By      Device // who made the change
	Changes []Change
	Entries int // entries stored with it; 0 while operations are pending

	fence func() // not a notice: see Folder.Told
}

// Revision is one step in a node's history.
type Revision struct {
	Version    Version   `json:"version"`
	Device     Device    `json:"device"`
	DeviceName string    `json:"deviceName"`
	Author     string    `json:"author,omitempty"` // who made it there, if not its person; the device's claim
	Time       time.Time `json:"time"`             // when its maker's clock said it was made
	Op         string    `json:"op"`               // create, write, rename, remove, mode, …
	Path       string    `json:"path,omitempty"`
	Added      int       `json:"added"`   // characters, of a text
	Removed    int       `json:"removed"` // characters, of a text
	Object     *Object   `json:"object,omitempty"`

	// Of Folder.History only.
	Node   NodeID `json:"-"`
	Kind   Kind   `json:"-"`
	From   string `json:"from,omitempty"`   // of a rename: the path before it
	Change Hash   `json:"change"`           // the entry that it came in
	Label  string `json:"label,omitempty"`  // what it was part of: see Tx.Label
	Absent bool   `json:"absent,omitempty"` // the object is not on this device (any more)
}

// Splice replaces Del code points at Pos by Ins.
type Splice = text.Splice

// Span is a run of a text that one event inserted.
type Span struct {
	Event  EventID `json:"event"`
	Device Device  `json:"device"`
	Author string  `json:"author,omitempty"` // as in Revision
	Time   uint64  `json:"time"`             // logical: an event is later than what its maker had seen
	Bytes  int     `json:"bytes"`
	Runes  int     `json:"runes"`
}

// DeviceInfo is a device that was admitted to a folder.
type DeviceInfo struct {
	Device Device `json:"device"`
	Name   string `json:"name"`
	Self   bool   `json:"self"`
}

// Note is something a person should know of: content set aside, a replacement
// whose base could not be known, a limit that was met.
type Note struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"` // set-aside, replaced, limit, feed
	Path string    `json:"path"` // in the folder, or where the bytes are kept
	Text string    `json:"text"`
}

// Head says where a device's repository is, as the device told it.
type Head struct {
	Path   string `json:"path"` // the directory that holds the repository; "" for the root
	Device Device `json:"device"`
	Name   string `json:"name"` // of the device
	Head   string `json:"head"` // branch and commit, such as "main 1a2b3c4"
}

// Status sums up a folder on this device.
type Status struct {
	ID       FolderID     `json:"id"`
	Name     string       `json:"name"`
	Devices  []DeviceInfo `json:"devices"`
	Files    int          `json:"files"`
	Entries  uint64       `json:"entries"`
	Wanted   int          `json:"wanted"`      // objects known of but not here
	WantedSz int64        `json:"wantedBytes"` // and their bytes
	Notes    []Note       `json:"notes,omitempty"`
	Beside   []string     `json:"beside,omitempty"` // versions that do not merge, shown beside the file
	Heads    []Head       `json:"heads,omitempty"`
	First    *FirstView   `json:"first,omitempty"` // nil: what is shown is confirmed
	Unread   []Unread     `json:"unread,omitempty"`
}
