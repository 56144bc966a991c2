package infer

import (
	"encoding/json"
	"time"

	"github.com/sheaf-fs/sheaf/crdt"
	"github.com/sheaf-fs/sheaf/infer/conversation"
)

// A question that was saved is asked, also if the daemon ends before it is due: what
// waits is noted in the folder's local data, and taken up at the next start.

// pendingKey is where in the folder's local data the questions are that wait.
const pendingKey = "ask/pending"

// pending is one of them.
type pending struct {
	Node  crdt.NodeID `json:"node"`
	Text  string      `json:"text"`
	Again bool        `json:"again,omitempty"`
}

// note writes down which questions wait, if these are others than at the last time.
func (w *watcher) note() {
	var list []pending
	for _, f := range w.files {
		if f.asked != nil {
			list = append(list, pending{f.node, f.asked.Text, f.asked.Again})
		}
	}
	if len(list) == 0 && w.noted == 0 {
		return
	}
	b, err := json.Marshal(list)
	if err == nil {
		err = w.update(func(tx *crdt.Tx) error {
			tx.SetLocal(pendingKey, b)
			return nil
		})
	}
	if err != nil {
		w.s.log.Warn("note the questions that wait", "err", err)
		return
	}
	w.noted = len(list)
}

// remember takes up the questions that waited when the last daemon ended. Those that
// have changed since, or have an answer, ask nothing.
func (w *watcher) remember() {
	b, err := w.f.Local(pendingKey)
	if err != nil || len(b) == 0 {
		return
	}
	var list []pending
	if err := json.Unmarshal(b, &list); err != nil {
		w.s.log.Warn("read which questions waited", "err", err)
		return
	}
	w.noted = len(list)
	for _, p := range list {
		if f := w.file(p.Node); f.asked == nil {
			f.asked, f.due = &conversation.Ask{Text: p.Text, Again: p.Again}, time.Now().Add(w.s.timing.quiet)
		}
	}
	w.note()
}
