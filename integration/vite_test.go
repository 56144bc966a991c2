package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sheaf-fs/sheaf/integration/rig"
)

// viteConfig has vite say, after each build, its number and what is in it.
const viteConfig = `let n = 0
export default {
	logLevel: "error",
	build: { outDir: process.env.OUT, emptyOutDir: true, minify: false, modulePreload: false, reportCompressedSize: false },
	plugins: [{ name: "say", writeBundle(_, bundle) {
		console.log("build", ++n, Object.values(bundle).flatMap(f => (f.code ?? "").match(/word\d+/g) ?? []).join(" "))
	} }],
}
`

// TestVite: vite on B builds anew what A changed, once, and nothing where nothing that it
// built from has changed.
func TestVite(t *testing.T) {
	need(t, "node", "inotifywait", "ip", "nsenter")
	vite, err := filepath.Abs("../.cache/js/node_modules/vite/bin/vite.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(vite); err != nil {
		rig.Skip(t, "vite is not installed")
	}
	a, b := rig.Pair(t, rig.NewNet(t))
	a.ShellIn(viteConfig, `echo begin > sentinel; mkdir web; cd web; cat > vite.config.mjs; mkdir src
echo '<script type="module" src="src/main.js"></script>' > index.html
echo 'import "./two.js"; console.log("word1")' > src/main.js; echo 'console.log("word2")' > src/two.js`)
	sameTrees(t, a, b)
	b.Env = append(b.Env, "OUT="+rig.Scratch(t, "out"))
	builds := listen(t, b, "node", vite, "build", "--watch", "web")
	builds.heard(t, "vite", 0, "build 1 word2 word1")
	all := watchAll(t, b)
	count := 1
	// built waits for the next build. One that nothing had asked for before it has its number.
	built := func(t *testing.T, words string) {
		t.Helper()
		count++
		want, next := fmt.Sprintf("build %d %s", count, words), fmt.Sprintf("build %d ", count+1)
		rig.Until(t, "vite builds", func() error {
			got := builds.since(0)
			switch {
			case slices.Contains(got, want):
				return nil
			case slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, next) }):
				return fmt.Errorf("it builds too often:\n%s", strings.Join(got, "\n"))
			}
			return fmt.Errorf("it has not heard of what makes %q:\n%s", want, strings.Join(got, "\n"))
		})
	}
	// quiet waits until b has shown everything.
	quiet := func(t *testing.T, what string) {
		t.Helper()
		from := all.mark()
		a.On(t).Shell(`echo "$1" >> sentinel`, what)
		all.heard(t, "inotifywait", from, "CLOSE_WRITE,CLOSE sentinel")
		sameTrees(t, a, b) // a new file comes later than what is changed after it
	}
	for _, step := range []struct{ name, do, want string }{
		{"content", `sed s/word2/word3/ src/two.js > ../../two; cat ../../two > src/two.js`, "word3 word1"},
		{"replace", `sed -i s/word1/word4/ src/main.js`, "word3 word4"},
		{"undone while apart", `cp src/main.js ../../was; echo more >> src/main.js; sync src/main.js; cat src/main.js > ../../more; cat ../../was > src/main.js`, ""},
		// A build too many would count.
		{"the same text", `cp src/two.js ../../two; cat ../../two > src/two.js; cp src/two.js two; mv two src/two.js`, ""},
		{"a mode", `chmod 755 src/two.js`, ""},
		{"reads", `cat src/*; ls -lR`, ""},
		{"other files", `echo other > src/other.js; mkdir new; mv src/other.js new; rm -r new`, ""},
		{"one more module", `echo 'console.log("word5")' > src/three.js`, ""},
		{"and its use", `sed -i '1i import "./three.js"' src/two.js`, "word5 word3 word4"},
		{"one module less", `sed -i 1d src/two.js`, "word3 word4"},
		{"its removal", `rm src/three.js`, ""},
		{"the end", `echo 'console.log("word6")' >> src/two.js`, "word3 word6 word4"},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			apart := step.name == "undone while apart"
			if apart {
				b.Cut()
				connected(t, b, 0)
			}
			a.On(t).Shell("cd web; " + step.do)
			if apart {
				b.Mend()
				connected(t, b, 1)
			}
			if step.want == "" {
				quiet(t, step.name)
			} else {
				built(t, step.want)
			}
		})
		if !ok {
			return
		}
	}
}
