package integration

import (
	"path/filepath"
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
	need(t, "node", "inotifywait")
	vite, err := filepath.Abs("../.cache/js/node_modules/vite/bin/vite.js")
	if err != nil {
		t.Fatal(err)
	}
	a, b := rig.Pair(t, nil)
	a.ShellIn(viteConfig, `echo begin > sentinel; mkdir web; cd web; cat > vite.config.mjs; mkdir src
echo '<script type="module" src="src/main.js"></script>' > index.html
echo 'import "./two.js"; console.log("word1")' > src/main.js; echo 'console.log("word2")' > src/two.js`)
	sameTrees(t, a, b)
	b.Env = append(b.Env, "OUT="+rig.Scratch(t, "out"))
	builds := listen(t, b, "node", vite, "build", "--watch", "web")
	builds.heard(t, "vite", 0, "build 1 word2 word1")
	all := watchAll(t, b)
	for _, step := range []struct{ name, do, want string }{
		{"content", `sed s/word2/word3/ src/two.js > ../../two; cat ../../two > src/two.js`, "build 2 word3 word1"},
		{"replace", `sed -i s/word1/word4/ src/main.js`, "build 3 word3 word4"},
		// A build too many would count.
		{"the same text", `cp src/two.js ../../two; cat ../../two > src/two.js; cp src/two.js two; mv two src/two.js`, ""},
		{"reads", `cat src/*; ls -lR`, ""},
		{"other files", `echo other > src/other.js; mkdir new; mv src/other.js new; rm -r new`, ""},
		{"one more module", `echo 'console.log("word5")' > src/three.js`, ""},
		{"and its use", `sed -i '1i import "./three.js"' src/two.js`, "build 4 word5 word3 word4"},
		{"one module less", `sed -i 1d src/two.js`, "build 5 word3 word4"},
		{"its removal", `rm src/three.js`, ""},
		{"the end", `echo 'console.log("word6")' >> src/two.js`, "build 6 word3 word6 word4"},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			a.On(t).Shell("cd web; " + step.do)
			if step.want != "" {
				builds.heard(t, "vite", 0, step.want)
				return
			}
			from := all.mark()
			a.On(t).Shell(`echo "$1" >> sentinel`, step.name)
			all.heard(t, "inotifywait", from, "CLOSE_WRITE,CLOSE sentinel")
			sameTrees(t, a, b) // a new file comes later than what is changed after it
		})
		if !ok {
			return
		}
	}
}
