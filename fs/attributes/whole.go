package attributes

import "strings"

// Whole tells whether the file at a path, with slashes and below the root, is kept whole. read
// gives the .gitattributes of the directory that the first n names of the path lead to, 0 for the
// root.
//
// Where they say nothing of merge, the name decides. Of what they say, these merge: set ("merge"),
// "merge=text", "merge=union" and unspecified ("!merge"). Unset ("-merge", "binary"),
// "merge=binary" and any other driver keep the file whole: it says that its lines are not to be
// mixed.
func Whole(path string, read func(n int) File) bool {
	depth := strings.Count(path, "/")
	files := make([]File, 0, depth+1)
	said := false
	for n := depth; n >= 0; n-- {
		f := read(n)
		said = said || len(f.lines) > 0
		files = append(files, f)
	}
	if said {
		switch v, ok := merge(path, files); {
		case !ok:
		case v == set, v == unspecified, v == "", v == "text", v == "union":
			return false
		default:
			return true
		}
	}
	return byName(path[strings.LastIndexByte(path, '/')+1:])
}

// wholeNames are files that one program writes as a whole and that mean nothing when mixed.
var wholeNames = map[string]bool{
	"package-lock.json": true, "npm-shrinkwrap.json": true, "yarn.lock": true, "pnpm-lock.yaml": true, "bun.lock": true, "deno.lock": true,
	"Cargo.lock": true, "poetry.lock": true, "uv.lock": true, "pdm.lock": true, "Pipfile.lock": true, "pixi.lock": true,
	"Gemfile.lock": true, "composer.lock": true, "flake.lock": true, "mix.lock": true, "pubspec.lock": true, "Podfile.lock": true,
	"packages.lock.json": true, "Package.resolved": true, ".terraform.lock.hcl": true,
}

// wholeEnds are those of generated code in few, long lines, and of notebooks.
var wholeEnds = []string{
	".ipynb", ".min.js", ".min.mjs", ".min.cjs", ".min.css", ".js.map", ".mjs.map", ".cjs.map", ".css.map",
}

func byName(name string) bool {
	if wholeNames[name] {
		return true
	}
	for _, end := range wholeEnds {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
