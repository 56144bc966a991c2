package conversation

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Settings are a conversation's front matter.
type Settings struct {
	Model       string
	System      string
	Context     []string // as if each stood in the question behind an @
	Temperature *float64
	MaxTokens   int   // of an answer; 0: not said
	Err         error // why the front matter cannot be followed
}

// maxFront bounds front matter, in bytes.
const maxFront = 64 << 10

// front reads front matter at the start of s and returns its length, 0 where
// there is none: lines between two of `---`, which are a YAML mapping.
func (f *File) front(s string) int {
	first := nextLine(s, 0)
	if strings.TrimRight(s[:first], " \t\r\n") != "---" {
		return 0
	}
	for start := first; start < len(s) && start < maxFront; {
		end := nextLine(s, start)
		if line := strings.TrimRight(s[start:end], " \t\r\n"); line == "---" || line == "..." {
			if !f.settings(s[first:start]) {
				return 0
			}
			return end
		}
		start = end
	}
	return 0
}

// settings reads the YAML. It is no front matter if it is no mapping.
func (f *File) settings(text string) bool {
	var node yaml.Node
	err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "\r\n", "\n")), &node)
	if err != nil {
		f.Settings.Err = fmt.Errorf("front matter: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return true
	}
	if len(node.Content) == 0 {
		return true
	}
	if node.Content[0].Kind != yaml.MappingNode {
		return false
	}
	var v struct {
		Model       string   `yaml:"model"`
		System      string   `yaml:"system"`
		Context     list     `yaml:"context"`
		Temperature *float64 `yaml:"temperature"`
		MaxTokens   int      `yaml:"max_tokens"`
	}
	err = node.Decode(&v)
	switch {
	case err != nil:
		err = fmt.Errorf("front matter: %s", strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " "))
	case v.Temperature != nil && !(*v.Temperature >= 0 && *v.Temperature <= 5):
		err = fmt.Errorf("front matter: a temperature is between 0 and 5")
	case v.MaxTokens < 0:
		err = fmt.Errorf("front matter: max_tokens is negative")
	}
	f.Settings = Settings{v.Model, v.System, v.Context, v.Temperature, v.MaxTokens, err}
	return true
}

// list is one word or several.
type list []string

func (l *list) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		var s string
		if err := n.Decode(&s); err != nil {
			return err
		}
		*l = strings.Fields(s)
		return nil
	}
	return n.Decode((*[]string)(l))
}
