package text

// slide moves the added and the removed lines of a script to where they belong. A group of them can often stand in several
// places: a function that is added starts with the lines that the one before it starts with, and ends with the same brace.
// Of these places, a group that only adds or only removes takes
//
//   - one where it comes to touch the other kind, the last one if there are several: what touches is one change;
//   - else the last one, so that two people who make the same change make the same hunk.
//
// Groups of one kind that come to touch move on as one. This is what git does, too, before it merges.
func slide(a, b []int32, found []run) []run {
	gone, come := make([]bool, len(a)), make([]bool, len(b))
	for _, r := range found {
		mark(gone[r.a0:r.a1])
		mark(come[r.b0:r.b1])
	}
	settle(a, gone, come)
	settle(b, come, gone)
	return marked(gone, come)
}

func mark(lines []bool) {
	for i := range lines {
		lines[i] = true
	}
}

// marked lists the runs of a script: gone of one text, come in the other.
func marked(gone, come []bool) []run {
	var out []run
	i, j := 0, 0
	for i < len(gone) || j < len(come) {
		r := run{a0: i, b0: j}
		for i < len(gone) && gone[i] {
			i++
		}
		for j < len(come) && come[j] {
			j++
		}
		r.a1, r.b1 = i, j
		if r.a0 == r.a1 && r.b0 == r.b1 {
			i++
			j++
			continue
		}
		out = append(out, r)
	}
	return out
}

// maxSlides bounds the work of moving groups, in lines for each line that there is.
const maxSlides = 32

// settle moves the marked lines of one text; those of the other stay.
func settle(text []int32, mine, theirs []bool) {
	g := group{text: text, mine: mine, theirs: theirs, left: maxSlides * (len(mine) + len(theirs))}
	for g.first(); ; {
		if g.start < g.end {
			for size := -1; size != g.end-g.start && g.left > 0; {
				size = g.end - g.start
				for g.up() {
				}
				touches, at := g.touches(), g.end
				for g.down() {
					if g.touches() {
						touches, at = true, g.end
					}
				}
				if touches && size == g.end-g.start {
					for g.end > at {
						g.up()
					}
				}
			}
		}
		if !g.next() {
			return
		}
	}
}

// group is what is marked of a text between two lines that both texts share, and where the other text is there.
type group struct {
	text         []int32
	mine, theirs []bool
	start, end   int // of text
	other        int // of the other text: the end of what is marked there
	left         int // lines that may still be passed
}

// first goes to the start.
func (g *group) first() {
	g.end = after(g.mine, 0)
	g.other = after(g.theirs, 0)
}

// next goes on behind the next line that both texts share, if there is one.
func (g *group) next() bool {
	if g.end == len(g.text) {
		return false
	}
	g.start = g.end + 1
	g.end, g.other = after(g.mine, g.start), after(g.theirs, g.other+1)
	return true
}

// after gives the end of what is marked from a place on.
func after(marks []bool, from int) int {
	for from < len(marks) && marks[from] {
		from++
	}
	return from
}

// touches tells whether the other text has something marked in the same place.
func (g *group) touches() bool { return g.other > 0 && g.theirs[g.other-1] }

// up moves the group by one line towards the start, if it may. What it comes to touch becomes part of it.
func (g *group) up() bool {
	if g.start == 0 || g.text[g.start-1] != g.text[g.end-1] {
		return false
	}
	g.start, g.end = g.start-1, g.end-1
	g.mine[g.start], g.mine[g.end] = true, false
	for g.start > 0 && g.mine[g.start-1] {
		g.start--
	}
	was := g.other
	for g.other > 0 && g.theirs[g.other-1] {
		g.other--
	}
	g.other-- // the line that both texts share
	g.left -= was - g.other
	return true
}

// down is up towards the end.
func (g *group) down() bool {
	if g.end == len(g.text) || g.text[g.start] != g.text[g.end] {
		return false
	}
	g.mine[g.start], g.mine[g.end] = false, true
	g.start, g.end = g.start+1, after(g.mine, g.end+1)
	was := g.other
	g.other = after(g.theirs, g.other+1)
	g.left -= g.other - was
	return true
}
