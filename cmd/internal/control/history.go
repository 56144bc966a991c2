package control

import "time"

// The methods about what was.
const (
	MethodDiff    = "diff"
	MethodBlame   = "blame"
	MethodRestore = "restore"
	MethodUndo    = "undo"
	MethodActions = "actions"
	MethodExpire  = "expire"
)

// LogRequest asks what happened at Path and below it.
type LogRequest struct {
	Path  string `json:"path"`
	Limit int    `json:"limit,omitempty"` // the newest; 0: all
}

// LogReply is what happened at a path and below it, newest first.
type LogReply struct {
	Path      string     `json:"path"`
	Dir       bool       `json:"dir"`
	Revisions []Revision `json:"revisions"`
}

// Revision is one step in the history of a file, directory or symlink.
type Revision struct {
	Version string    `json:"version"` // of a file's content, in full; empty for other steps
	Change  string    `json:"change"`  // the entry it came in: the folder as it was then
	Device  string    `json:"device"`
	Author  string    `json:"author,omitempty"` // who wrote on the device, if not its person: a model
	Time    time.Time `json:"time"`
	Op      string    `json:"op"`                // create, write, rename, remove, restore, attributes
	Kind    string    `json:"kind"`              // file, directory, symlink
	Path    string    `json:"path"`              // in the folder
	From    string    `json:"from,omitempty"`    // of a rename
	Label   string    `json:"label,omitempty"`   // what it was part of
	Added   int       `json:"added"`             // characters
	Removed int       `json:"removed"`           // characters
	Size    int64     `json:"size,omitempty"`    // bytes, of content that is no text
	Expired bool      `json:"expired,omitempty"` // that content is not on this device (any more)
}

// DiffRequest compares two states of a file. A state is a version, a change or a time; two
// empty ones are what the last change did, an empty To alone is the file now.
type DiffRequest struct {
	Path string `json:"path"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// DiffReply is a unified diff, empty for two equal states.
type DiffReply struct {
	Path    string `json:"path"`
	From    string `json:"from"`
	To      string `json:"to"`
	Unified string `json:"unified"`
}

// BlameReply tells who wrote each line.
type BlameReply struct {
	Path  string      `json:"path"`
	Lines []BlameLine `json:"lines"`
}

// BlameLine is one line and who changed it last.
type BlameLine struct {
	Version string    `json:"version"`
	Device  string    `json:"device"`
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time"`
	Text    string    `json:"text"`
}

// RestoreRequest brings back an old state: at most one of At and Version is given.
type RestoreRequest struct {
	Path    string     `json:"path"`
	At      *time.Time `json:"at,omitempty"`
	Version string     `json:"version,omitempty"`
	To      string     `json:"to,omitempty"` // an absolute path in the same folder
}

// RestoreReply says what is as it was. Paths are in the folder.
type RestoreReply struct {
	Restored []string `json:"restored"`
	Same     int      `json:"same"` // files that were so already
	Left     []string `json:"left"` // what could not be restored, and why
	Action   string   `json:"action"`
}

// UndoRequest takes back an action of this device in the folder of Path: the last one, the
// last undo (Redo), or the one whose id begins so.
type UndoRequest struct {
	Path   string `json:"path"`
	Action string `json:"action,omitempty"`
	Redo   bool   `json:"redo,omitempty"`
}

// UndoReply says what was taken back.
type UndoReply struct {
	Action Action   `json:"action"`
	Done   []string `json:"done"`
	Left   []string `json:"left"` // what could not be, and why
}

// ActionsRequest lists this device's last actions in the folder of Path.
type ActionsRequest struct {
	Path  string `json:"path"`
	Limit int    `json:"limit"`
}

// ActionsReply lists them, newest first.
type ActionsReply struct {
	Actions []Action `json:"actions"`
}

// Action is what this device did in one go.
type Action struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Label  string    `json:"label"`
	Author string    `json:"author,omitempty"`
	Undone bool      `json:"undone,omitempty"`
	Undoes string    `json:"undoes,omitempty"` // the action that it took back
}

// ExpireRequest changes how long old versions of what is no text are kept, where not nil, and
// has those freed that are kept no longer (Now).
type ExpireRequest struct {
	All   *time.Duration `json:"all,omitempty"`   // every version
	Daily *time.Duration `json:"daily,omitempty"` // one a day
	Now   bool           `json:"now,omitempty"`
}

// ExpireReply is the policy, and what was freed.
type ExpireReply struct {
	All     time.Duration `json:"all"`
	Daily   time.Duration `json:"daily"`
	Objects int           `json:"objects"` // by this request
	Bytes   int64         `json:"bytes"`
	Freed   Freed         `json:"freed"` // ever
}

// Freed is what expiry freed on this device.
type Freed struct {
	Last    *time.Time `json:"last,omitempty"` // when it ran last
	Objects int        `json:"objects"`
	Bytes   int64      `json:"bytes"`
}
