package tree

// Walk calls fn for all that is shown, parents before children, siblings by name, until it
// returns false. The root is not among it. Paths cost as much as they are long: who needs none
// calls Each.
func (t *Tree) Walk(fn func(path string, e Dirent) bool) { t.walk(true, fn) }

// Each is Walk without the paths.
func (t *Tree) Each(fn func(Dirent) bool) {
	t.walk(false, func(_ string, e Dirent) bool { return fn(e) })
}

// walk does not call itself: others decide how deep a tree is.
func (t *Tree) walk(paths bool, fn func(string, Dirent) bool) {
	type directory struct {
		rest []Dirent
		path string // with a slash behind it
	}
	path := func(d *directory, name string) string {
		if !paths {
			return ""
		}
		return d.path + name
	}
	for stack := []directory{{rest: t.ReadDir(t.root.id)}}; len(stack) > 0; {
		d := &stack[len(stack)-1]
		if len(d.rest) == 0 {
			stack = stack[:len(stack)-1]
			continue
		}
		e := d.rest[0]
		d.rest = d.rest[1:]
		if !fn(path(d, e.Name), e) {
			return
		}
		if e.Kind == Dir {
			stack = append(stack, directory{t.ReadDir(e.Node), path(d, e.Name+"/")})
		}
	}
}
