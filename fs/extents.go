package fs

import "slices"

// extent is bytes at an offset.
type extent struct {
	off  int64
	data []byte
}

func (e extent) end() int64 { return e.off + int64(len(e.data)) }

// extents are bytes at offsets, ascending; no two of them touch.
type extents []extent

// end is where the last of them ends.
func (x extents) end() int64 {
	if len(x) == 0 {
		return 0
	}
	return x[len(x)-1].end()
}

// touching finds those that bytes from one offset to another lie in or touch.
func (x extents) touching(from, to int64) (i, j int) {
	for i < len(x) && x[i].end() < from {
		i++
	}
	for j = i; j < len(x) && x[j].off <= to; {
		j++
	}
	return i, j
}

// after is how many extents, of how many bytes in all, there are after put.
func (x extents) after(off int64, n int) (count, size int) {
	to := off + int64(n)
	i, j := x.touching(off, to)
	for _, e := range x {
		size += len(e.data)
	}
	size += n
	for _, e := range x[i:j] {
		size -= int(max(0, min(e.end(), to)-max(e.off, off)))
	}
	return len(x) - (j - i) + 1, size
}

// put puts bytes at an offset, in place of what is there.
func (x extents) put(off int64, data []byte) extents {
	if len(data) == 0 {
		return x
	}
	to := off + int64(len(data))
	i, j := x.touching(off, to)
	if i == j {
		return slices.Insert(x, i, extent{off, slices.Clone(data)})
	}
	first, last := x[i], x[j-1]
	if first.off <= off && first.end() >= to {
		copy(first.data[off-first.off:], data)
		return x
	}
	if first.off < off {
		data = append(first.data[:off-first.off], data...)
		off = first.off
	} else {
		data = slices.Clone(data)
	}
	if last.end() > to {
		data = append(data, last.data[to-last.off:]...)
	}
	return slices.Replace(x, i, j, extent{off, data})
}

// over puts what the extents have into bytes from an offset on.
func (x extents) over(buf []byte, off int64) {
	to := off + int64(len(buf))
	for _, e := range x {
		if from := max(off, e.off); from < min(to, e.end()) {
			copy(buf[from-off:], e.data[from-e.off:])
		}
	}
}
