package control

import "time"

// The methods of the daemon. PATHs in requests are absolute.
const (
	MethodInit   = "init"
	MethodInvite = "invite"
	MethodJoin   = "join"
	MethodUp     = "up"
	MethodDown   = "down"
	MethodStatus = "status"
	MethodSync   = "sync"
	MethodLog    = "log"
	MethodTrust  = "trust"
	MethodExport = "export"
	MethodImport = "import"
	MethodRules  = "rules"
	MethodCheck  = "check"

	MethodAsk     = "ask"
	MethodAskFile = "ask-file"
)

// InitRequest makes a folder and mounts it on Path.
type InitRequest struct {
	Path   string `json:"path"`
	Name   string `json:"name,omitempty"` // default: the base of Path
	Import bool   `json:"import,omitempty"`
	Plain  bool   `json:"plain,omitempty"` // keep an ordinary directory in step instead of mounting
}

// Mounted says which folder is mounted where.
type Mounted struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Path string `json:"path"`
	// Import only: what was copied in, and where the original is now.
	Imported *Imported `json:"imported,omitempty"`
}

// Imported counts what init --import copied.
type Imported struct {
	Files    int      `json:"files"`
	Dirs     int      `json:"dirs"`
	Symlinks int      `json:"symlinks"`
	Bytes    int64    `json:"bytes"`
	Original string   `json:"original"`
	Skipped  []string `json:"skipped,omitempty"` // sockets, pipes and devices, by relative path
	Local    []string `json:"local,omitempty"`   // kept on this device (.git): relative paths, for the caller to copy
}

// PathRequest names a folder by any path in its mount.
type PathRequest struct {
	Path string `json:"path"`
}

// InviteReply carries a ticket.
type InviteReply struct {
	Ticket string `json:"ticket"`
}

// JoinRequest joins a ticket's folder and mounts it on Path.
type JoinRequest struct {
	Ticket string `json:"ticket"`
	Path   string `json:"path"`
	Plain  bool   `json:"plain,omitempty"` // as in InitRequest
	// Timeout bounds the wait for the first sync; 0 waits for as long as it takes.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// UpRequest mounts every folder of the home.
type UpRequest struct{}

// UpReply lists what is mounted, and what could not be.
type UpReply struct {
	Folders []Mounted `json:"folders"`
	Failed  []Failed  `json:"failed,omitempty"`
}

// Failed is a folder that could not be mounted or unmounted.
type Failed struct {
	Path  string `json:"path"`
	Error *Error `json:"error"`
}

// DownReply says what was unmounted; the daemon ends right after it.
type DownReply struct {
	PID       int      `json:"pid"`
	Unmounted []string `json:"unmounted"`
	// Busy mounts were detached: programs that still hold files there keep their view.
	Busy []string `json:"busy,omitempty"`
	// Writing are the files, by path, that programs had open for writing in them. What was
	// written until then is published.
	Writing []string `json:"writing,omitempty"`
}

// Status is all that sheaf status shows.
type Status struct {
	Home    string       `json:"home"`
	Running bool         `json:"running"`
	PID     int          `json:"pid"` // of the daemon; 0 if it does not run
	Version string       `json:"version"`
	Device  DeviceStatus `json:"device"`
	Listen  []string     `json:"listen"` // addresses that devices can reach this one at
	// Warnings are what somebody should see to, but for what concerns one folder (its notes).
	Warnings []string       `json:"warnings"`
	Folders  []FolderStatus `json:"folders"`
	// What was freed of old versions on this device.
	Freed Freed `json:"freed"`
}

// DeviceStatus names this device.
type DeviceStatus struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// FolderStatus is one folder.
type FolderStatus struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Path    string       `json:"path"`            // the mount point; empty if it has none
	Mounted bool         `json:"mounted"`         // or kept in step
	Plain   bool         `json:"plain"`           // an ordinary directory, kept in step
	Error   *Error       `json:"error,omitempty"` // why it is not mounted
	Files   int          `json:"files"`
	Entries uint64       `json:"entries"`
	Devices []PeerStatus `json:"devices"`           // the others
	Writing []string     `json:"writing,omitempty"` // files that programs have open for writing, by path in the folder
	// Contents that are known of but not here yet.
	Wanted      int    `json:"wanted"`
	WantedBytes int64  `json:"wanted_bytes"`
	Notes       []Note `json:"notes"` // what is set aside or needs a person
	// Local is what stays on this device; Held are databases that are not published because
	// of what SQLite keeps beside them. Both only while the folder is mounted.
	Local  []Local  `json:"local,omitempty"`
	Held   []string `json:"held,omitempty"`
	Heads  []Head   `json:"heads,omitempty"`  // where the devices' git repositories are
	Beside []string `json:"beside,omitempty"` // versions that do not merge, shown beside their file
	// First is whose word the folder shows until enough has arrived to check it: so long it is
	// read only.
	First *First `json:"first,omitempty"`
	// Unread is the changes that wait until this device has a newer sheaf, by who made them.
	Unread []Unread `json:"unread,omitempty"`
}

// Unread is changes of one device that this one holds and cannot read.
type Unread struct {
	ID      string    `json:"id"`
	Device  string    `json:"device"` // its name
	Entries int       `json:"entries"`
	Since   time.Time `json:"since"` // when the first of them came
}

// First is a first view of a folder that is new here.
type First struct {
	Maker   string    `json:"maker"` // the device's name
	Since   time.Time `json:"since"`
	Entries uint64    `json:"entries"` // still to come
}

// Local is a name that stays on this device.
type Local struct {
	Path  string `json:"path"`
	Dir   bool   `json:"dir"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	More  bool   `json:"more,omitempty"`  // it holds more than was counted in time
	Hides bool   `json:"hides,omitempty"` // others share something of that name
}

// Head is where a device's repository is.
type Head struct {
	Path   string `json:"path"` // the directory that holds it; "" for the folder's root
	Device string `json:"device"`
	Head   string `json:"head"` // branch and commit
}

// RulesRequest changes or, without patterns, shows this device's rules for a folder.
type RulesRequest struct {
	Path   string   `json:"path"`             // names the folder
	Add    []string `json:"add,omitempty"`    // patterns; '!' in front shares
	Remove []string `json:"remove,omitempty"` // as they were added
}

// RulesReply holds the rules as they are now.
type RulesReply struct {
	Rules []string `json:"rules"`
}

// PeerStatus is another device of a folder. Amounts are what is left to go.
type PeerStatus struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Connected     bool       `json:"connected"`
	Address       string     `json:"address,omitempty"`
	EntriesToSend uint64     `json:"entries_to_send"`
	EntriesToGet  uint64     `json:"entries_to_get"`
	BytesToSend   int64      `json:"bytes_to_send"`
	BytesToGet    int64      `json:"bytes_to_get"`
	LastError     string     `json:"last_error,omitempty"`
	Seen          *time.Time `json:"seen,omitempty"`
	// Diverged is when it was seen first that the device holds the same changes and has made
	// something else of them: a fault, which does not mend itself.
	Diverged *time.Time `json:"diverged,omitempty"`
	// Rules is "older" or "newer" where the device merges by other rules than this one: the
	// two may make different texts of the same changes until both run the same sheaf.
	Rules string     `json:"rules,omitempty"`
	Open  []OpenFile `json:"open"` // what its programs have open now, as far as it tells
}

// OpenFile is a file that a program has open.
type OpenFile struct {
	Path    string `json:"path"`    // in the folder
	Writing bool   `json:"writing"` // for writing, or in an editor
	Program string `json:"program,omitempty"`
}

// Note is something set aside, or that somebody should look at.
type Note struct {
	Kind string    `json:"kind"`
	Path string    `json:"path,omitempty"`
	Text string    `json:"text"`
	Time time.Time `json:"time"`
}

// SyncRequest brings a folder in step with its devices; an empty Path means every folder.
type SyncRequest struct {
	Path    string        `json:"path,omitempty"`
	Wait    bool          `json:"wait,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

// SyncReply is how far it got.
type SyncReply struct {
	Folders []FolderStatus `json:"folders"`
}

// ExportReply is an Automerge document.
type ExportReply struct {
	Document []byte `json:"document"`
}

// MaxText is how many bytes of a text may be asked about.
const MaxText = 1 << 20

// AskRequest asks a model. The answer comes in pieces, too.
type AskRequest struct {
	Question string   `json:"question"`
	Paths    []string `json:"paths,omitempty"` // as they stand behind an @
	Dir      string   `json:"dir"`             // where the question is asked; in a folder, names are looked up there first
	Text     string   `json:"text,omitempty"`  // to ask about, at most MaxText

	Model       string   `json:"model,omitempty"`
	System      string   `json:"system,omitempty"`
	Temperature *float64 `json:"temperature,omitempty"`
	MaxTokens   int      `json:"max_tokens,omitempty"`
}

// AskFileRequest has the conversation at Path answered in the file.
type AskFileRequest struct {
	Path string `json:"path"`
	Wait bool   `json:"wait,omitempty"` // reply when it has ended
}

// AskReply is how asking ended. Without waiting there is only a state.
type AskReply struct {
	State   string   `json:"state"`
	Model   string   `json:"model,omitempty"`
	Answer  string   `json:"answer"`
	Read    []string `json:"read,omitempty"`     // what stood in the context, with versions
	LeftOut []string `json:"left_out,omitempty"` // what did not, and why
	Note    string   `json:"note,omitempty"`     // why it did not end well
}

// CheckReply is what a deep check looked at, and what is not as it was written.
type CheckReply struct {
	Objects int      `json:"objects"`
	Bytes   int64    `json:"bytes"` // of objects
	Entries int      `json:"entries"`
	Texts   int      `json:"texts"`
	Damage  []Damage `json:"damage"`
	// Automerge is what came of holding the texts against the Automerge library; nil: that was not tried.
	Automerge *Compared `json:"automerge,omitempty"`
}

// Compared counts texts that are what the Automerge library makes of them; those that are not are
// damage.
type Compared struct {
	Same    int      `json:"same"`
	Left    []string `json:"left,omitempty"`    // texts that it could not read, and why
	Missing string   `json:"missing,omitempty"` // why there is no library
}

// ImportRequest makes a new file of a text in an Automerge document.
type ImportRequest struct {
	Document string `json:"document"`      // its absolute path
	Path     string `json:"path"`          // absolute: the file to make, or a directory for it
	Key      string `json:"key,omitempty"` // which text; empty: "content", else the only one
}

// ImportReply says what was made.
type ImportReply struct {
	Path     string `json:"path"` // in the folder
	Key      string `json:"key"`
	Versions int    `json:"versions"` // of the file: 1 where the history was not taken over
}

// Damage is one thing that is not what was written.
type Damage struct {
	What   string `json:"what"`             // key, database, object, entry, text or state
	Folder string `json:"folder,omitempty"` // its name
	Path   string `json:"path"`             // in the folder, or on disk
	Text   string `json:"text"`
	Done   string `json:"done,omitempty"` // what a repair did about it; empty: nothing
}
