package config

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"tahoe-go/internal/format/furl"
)

// Bounds of the yaml files in private/.
const (
	maxYAML    = 1 << 20 // bytes
	maxEntries = 1000
)

// readYAML reads a yaml file's top mapping. A missing file is an empty one.
func readYAML(name string) (*yaml.Node, error) {
	text, err := readLimited(name, maxYAML+1)
	if errors.Is(err, fs.ErrNotExist) {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	if err != nil {
		return nil, err
	}
	return parseYAML(text, maxYAML)
}

func parseYAML(text []byte, most int) (*yaml.Node, error) {
	if len(text) > most {
		return nil, fmt.Errorf("larger than %d bytes", most)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if doc.Kind == 0 || len(doc.Content) == 1 && doc.Content[0].Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("not a mapping (name: value)")
	}
	return doc.Content[0], nil
}

// child returns the value of a key of a mapping, or nil.
func child(m *yaml.Node, key string) *yaml.Node {
	for k, v := range pairs(m) {
		if k.Value == key {
			return v
		}
	}
	return nil
}

// pairs walks the keys and values of a mapping; anything else is empty.
// Aliases are followed one step, so that no text can make this endless.
func pairs(m *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(k, v *yaml.Node) bool) {
		if m == nil || m.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(m.Content); i += 2 {
			v := m.Content[i+1]
			if v.Kind == yaml.AliasNode {
				v = v.Alias
			}
			if !yield(m.Content[i], v) {
				return
			}
		}
	}
}

func (c *Config) yamlProblem(file string, line int, key, why, remedy string) {
	c.problems = append(c.problems, Problem{File: file, Line: line, Key: key, Why: why, Remedy: remedy})
}

// readIntroducers reads private/introducers.yaml and adds the one of
// tahoe.cfg.
func (c *Config) readIntroducers() {
	if c.Kind == IntroducerNode {
		return
	}
	top, err := readYAML(filepath.Join(c.Dir, introsFile))
	if err != nil {
		c.yamlProblem(introsFile, 0, "", err.Error(), "")
		return
	}
	for key, value := range pairs(top) {
		if key.Value != "introducers" {
			c.Warnings = append(c.Warnings, Problem{File: introsFile, Line: key.Line, Key: clipID(key.Value), Why: "ignored; introducers are listed under \"introducers\""})
		} else if value.Kind != yaml.MappingNode && value.Tag != "!!null" {
			c.yamlProblem(introsFile, value.Line, key.Value, "not a mapping of petnames", "write each as \"PETNAME: {furl: 'pb://…'}\"")
		}
	}
	petnames := map[string]bool{}
	for name, entry := range pairs(child(top, "introducers")) {
		if petnames[name.Value] || len(petnames) >= maxEntries {
			c.yamlProblem(introsFile, name.Line, name.Value, "the petname is there twice, or there are too many", "")
			continue
		}
		petnames[name.Value] = true
		c.addIntroducer(name, child(entry, "furl"))
	}
	c.tahoeCfgIntroducer(petnames)
}

func (c *Config) addIntroducer(name, text *yaml.Node) {
	if text == nil || text.Kind != yaml.ScalarNode {
		c.yamlProblem(introsFile, name.Line, name.Value, "there is no furl under it", "write it as \"furl: pb://…\"")
		return
	}
	if strings.ContainsAny(name.Value, "/\\\x00") || name.Value == "" {
		c.yamlProblem(introsFile, name.Line, "", "the petname is not usable in a file name", "")
		return
	}
	f, err := furl.ParseFURL(text.Value)
	if err != nil {
		c.yamlProblem(introsFile, text.Line, name.Value, err.Error(), "")
		return
	}
	c.Introducers = append(c.Introducers, Introducer{name.Value, f})
}

// defaultPetname is that of the introducer in tahoe.cfg.
const defaultPetname = "default"

func (c *Config) tahoeCfgIntroducer(petnames map[string]bool) {
	text := c.Client.Introducer.Reveal()
	switch {
	case text == "":
		return
	case text == "None":
		c.problem("client", "introducer.furl", "\"None\" is not a fURL", "to have none, delete the line")
		return
	case petnames[defaultPetname]:
		c.problem("client", "introducer.furl", "an introducer called \"default\" is in "+introsFile+" too", "delete one of the two")
		return
	}
	f, err := furl.ParseFURL(text)
	if err != nil {
		return // reported when it was read
	}
	c.Introducers = append(c.Introducers, Introducer{defaultPetname, f})
	c.warn("client", "introducer.furl", "the older place for an introducer", "move it to "+introsFile)
}
