package automerge

import (
	"encoding/binary"
	"unicode/utf8"
)

// Actions of operations.
const (
	actionSet      = 1
	actionDelete   = 3
	actionMakeText = 4
)

const valueString = 6 // type of a value, in the low four bits of its meta; the length is above

// columns are the operations of a change, as the file format keeps them: by field.
type columns struct {
	object     int64 // actor of the object's id; its counter is 1
	objActor   runs
	objCounter runs
	keyActor   runs
	keyCounter deltas
	keyString  []byte
	insert     bools
	action     runs
	valueMeta  runs
	value      []byte
	preds      runs
	predActor  runs
	predCtr    deltas
}

// remove deletes n code points whose ids have one actor and consecutive counters.
func (c *columns) remove(actor int64, counter, n int) {
	c.objActor.put(c.object, n)
	c.objCounter.put(1, n)
	c.keyActor.put(actor, n)
	c.keyCounter.sequence(counter, n)
	c.insert.put(false, n)
	c.action.put(actionDelete, n)
	c.valueMeta.put(0, n)
	c.preds.put(1, n)
	c.predActor.put(actor, n)
	c.predCtr.sequence(counter, n)
}

// insertAt tells behind what the first code point of an insertion stands; actor -1 is the start of the text.
func (c *columns) insertAt(actor int64, counter int) {
	if actor < 0 {
		c.keyActor.null(1)
	} else {
		c.keyActor.put(actor, 1)
	}
	c.keyCounter.sequence(counter, 1)
}

// insertText inserts code points, each behind the one before, the first with counter ctr, and returns the next counter.
func (c *columns) insertText(s string, ctr int) int {
	n := utf8.RuneCountInString(s)
	c.objActor.put(c.object, n)
	c.objCounter.put(1, n)
	c.keyActor.put(0, n-1)
	c.keyCounter.sequence(ctr, n-1)
	c.insert.put(true, n)
	c.action.put(actionSet, n)
	for _, r := range s {
		c.valueMeta.put(int64(utf8.RuneLen(r))<<4|valueString, 1)
	}
	c.value = append(c.value, s...)
	c.preds.put(0, n)
	return ctr + n
}

// append writes the columns that are not empty behind a header: first their names and lengths, then their bytes.
func (c *columns) append(b []byte) []byte {
	all := []struct {
		name byte
		data []byte
	}{
		{0x01, c.objActor.bytes(false)},
		{0x02, c.objCounter.bytes(false)},
		{0x11, c.keyActor.bytes(false)},
		{0x13, c.keyCounter.bytes(true)},
		{0x15, c.keyString},
		{0x34, c.insert.bytes()},
		{0x42, c.action.bytes(false)},
		{0x56, c.valueMeta.bytes(false)},
		{0x57, c.value},
		{0x70, c.preds.bytes(false)},
		{0x71, c.predActor.bytes(false)},
		{0x73, c.predCtr.bytes(true)},
	}
	n := 0
	var names, data []byte
	for _, x := range all {
		if len(x.data) > 0 {
			n++
			names = append(names, x.name)
			names = binary.AppendUvarint(names, uint64(len(x.data)))
			data = append(data, x.data...)
		}
	}
	b = binary.AppendUvarint(b, uint64(n))
	b = append(b, names...)
	return append(b, data...)
}

// runs is a column of numbers in which equal neighbours are kept once with their count.
type runs struct {
	all []numbers
}

type numbers struct {
	value int64
	null  bool
	n     int
}

func (r *runs) put(v int64, n int) { r.add(numbers{value: v, n: n}) }
func (r *runs) null(n int)         { r.add(numbers{null: true, n: n}) }

func (r *runs) add(x numbers) {
	if x.n == 0 {
		return
	}
	if k := len(r.all) - 1; k >= 0 && r.all[k].value == x.value && r.all[k].null == x.null {
		r.all[k].n += x.n
		return
	}
	r.all = append(r.all, x)
}

// bytes is the column: a count and a value for a run, a negative count and the values where neighbours differ, zero and a
// count for nulls. A column of nulls alone is empty.
func (r *runs) bytes(signed bool) []byte {
	if len(r.all) == 1 && r.all[0].null {
		return nil
	}
	var b []byte
	put := func(v int64) {
		if signed {
			b = appendSigned(b, v)
		} else {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	for i := 0; i < len(r.all); {
		x := r.all[i]
		switch {
		case x.null:
			b = append(b, 0)
			b = binary.AppendUvarint(b, uint64(x.n))
			i++
		case x.n > 1:
			b = appendSigned(b, int64(x.n))
			put(x.value)
			i++
		default:
			j := i
			for j < len(r.all) && !r.all[j].null && r.all[j].n == 1 {
				j++
			}
			b = appendSigned(b, int64(i-j))
			for ; i < j; i++ {
				put(r.all[i].value)
			}
		}
	}
	return b
}

// deltas is a column of numbers kept as differences.
type deltas struct {
	runs
	last int
}

// sequence adds n numbers from v upwards.
func (d *deltas) sequence(v, n int) {
	if n == 0 {
		return
	}
	d.put(int64(v-d.last), 1)
	d.put(1, n-1)
	d.last = v + n - 1
}

// bools is a column of truth values: counts of false and true in turn.
type bools struct {
	counts []int
}

func (c *bools) put(v bool, n int) {
	if len(c.counts) == 0 {
		c.counts = []int{0}
	}
	if now := len(c.counts)%2 == 0; now != v {
		c.counts = append(c.counts, 0)
	}
	c.counts[len(c.counts)-1] += n
}

func (c *bools) bytes() (b []byte) {
	for _, n := range c.counts {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// appendSigned writes a signed LEB128 number.
func appendSigned(b []byte, v int64) []byte {
	for {
		x := byte(v & 0x7f)
		v >>= 7
		if v == 0 && x&0x40 == 0 || v == -1 && x&0x40 != 0 {
			return append(b, x)
		}
		b = append(b, x|0x80)
	}
}
