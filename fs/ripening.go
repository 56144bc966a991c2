package fs

import "time"

// A new file that was closed waits for a moment before it goes into the folder: many are
// removed or renamed at once. While thousands are being made (tar, cp -r, git checkout) they wait
// until that pauses: whoever makes them needs the processors and the lock of the names that
// publishing takes. Their bytes are in the journal meanwhile, which is synced; what is not in
// it, the bytes of large files, does not wait.
const (
	manyNew = 128                    // so many new files that wait are a burst, which goes on
	pauses  = 100 * time.Millisecond // until none was closed for so long,
	waitNew = 2 * time.Second        // but they wait no more once the first has for so long,
	backlog = 32 << 20               // or all of them are so many bytes
)

// ripening is the new files that were closed, first those that were closed first: what is made
// together is read together, and so should lie together. Guarded by filesystem.ripeMu.
type ripening struct {
	list  []closedFile
	known map[*inode]struct{}
	bytes int64     // of the packed ones
	last  time.Time // when one was closed
}

type closedFile struct {
	in     *inode
	at     time.Time // when it was closed; zero: it is not to wait
	packed bool      // its bytes are in the journal
	bytes  int64
}

// add reports whether the file is the only one.
func (r *ripening) add(f closedFile) bool {
	if _, ok := r.known[f.in]; ok {
		return false
	}
	if r.known == nil {
		r.known = map[*inode]struct{}{}
	}
	r.known[f.in] = struct{}{}
	r.list, r.last = append(r.list, f), f.at
	if f.packed {
		r.bytes += f.bytes
	}
	return len(r.list) == 1
}

// burst tells whether more new files are on their way, and can be waited for.
func (r *ripening) burst(now time.Time) bool {
	return len(r.list) >= manyNew && now.Sub(r.last) < pauses && now.Sub(r.list[0].at) < waitNew && r.bytes < backlog
}

// take takes out those that have waited for a moment, at most maxPublished; in a burst only those
// whose bytes are not in the journal. It tells how long the others wait, and whether that is for a
// burst.
func (r *ripening) take(now time.Time, moment time.Duration) (due []*inode, next time.Duration, burst bool) {
	if burst = r.burst(now); burst {
		next = pauses
	}
	kept := r.list[:0]
	for i, f := range r.list {
		if wait := f.at.Add(moment).Sub(now); wait > 0 {
			kept, next = append(kept, r.list[i:]...), wait
			break
		}
		if burst && f.packed {
			kept = append(kept, f)
			continue
		}
		if len(due) == maxPublished {
			kept, next = append(kept, r.list[i:]...), 0
			if now.Sub(r.last) < pauses && now.Sub(f.at) < atLatest && r.bytes < 2*backlog {
				next = moment // who makes them is to go on, while that does not leave ever more behind
			}
			break
		}
		due = append(due, f.in)
		delete(r.known, f.in)
		if f.packed {
			r.bytes -= f.bytes
		}
	}
	clear(r.list[len(kept):])
	r.list = kept
	return due, next, burst
}

// hurry has none of them wait any more.
func (r *ripening) hurry() {
	for i := range r.list {
		r.list[i].at = time.Time{}
	}
}

// hurried tells whether one of those is left.
func (r *ripening) hurried() bool { return len(r.list) > 0 && r.list[0].at.IsZero() }

// ripen has a new file published in a moment.
func (fs *filesystem) ripen(in *inode) { fs.ripenAs(closedFile{in: in, at: time.Now()}) }

// ripenClosed is ripen of a file that was closed with this session. The caller holds in.mu.
func (fs *filesystem) ripenClosed(in *inode, s *session) {
	fs.ripenAs(closedFile{in: in, at: time.Now(), packed: s.packed != nil, bytes: s.size})
}

func (fs *filesystem) ripenAs(f closedFile) {
	fs.ripeMu.Lock()
	defer fs.ripeMu.Unlock()
	if fs.ripening.add(f) {
		fs.later(fs.ripe, fs.harvest)
	}
}

// harvestAll publishes the new files that are closed, now.
func (fs *filesystem) harvestAll() {
	fs.ripeMu.Lock()
	fs.ripening.hurry()
	fs.ripeMu.Unlock()
	for more := true; more; {
		fs.ripeMu.Lock()
		due, _, _ := fs.ripening.take(time.Now(), fs.ripe)
		more = fs.ripening.hurried()
		fs.ripeMu.Unlock()
		fs.bring(due)
	}
}

// harvest publishes the new files whose moment has come.
func (fs *filesystem) harvest() {
	fs.ripeMu.Lock()
	due, next, burst := fs.ripening.take(time.Now(), fs.ripe)
	if len(fs.ripening.list) > 0 {
		fs.later(next, fs.harvest)
	}
	fs.ripeMu.Unlock()
	if burst {
		fs.syncJournal() // what waits lasts as if it were in the folder
	}
	fs.bring(due)
}

// bring publishes new files; those that cannot be are tried again, ever more seldom.
func (fs *filesystem) bring(list []*inode) {
	for in, err := range fs.publishNew(list) {
		fs.log.Error("publish a new file", "name", in.label(), "err", err)
		wait := quiet
		in.mu.Lock()
		if in.sess != nil {
			wait = in.sess.again()
		}
		in.mu.Unlock()
		fs.later(wait, func() { fs.ripen(in) })
	}
}
