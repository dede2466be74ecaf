package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
)

// Server is a storage server from private/servers.yaml. Its NURLs may be
// empty: it speaks only Foolscap then.
type Server struct {
	announce.Server
	// Handlers maps kinds of hints ("tcp", "tor", "i2p") to what carries
	// connections to this server, in place of [connections].
	Handlers map[string]string
}

// maxEntryText bounds what others hand us to add to servers.yaml.
const maxEntryText = 64 << 10

// readServers reads private/servers.yaml. An entry that cannot be used is
// a warning: one bad server must not keep a node from the others.
func (c *Config) readServers() {
	if c.Kind == IntroducerNode {
		return
	}
	top, err := readYAML(filepath.Join(c.Dir, serversFile))
	if err != nil {
		c.yamlProblem(serversFile, 0, "", err.Error(), "")
		return
	}
	servers, warnings := parseServers(top)
	c.Servers = servers
	for _, w := range warnings {
		w.File = serversFile
		c.Warnings = append(c.Warnings, w)
	}
}

// ParseServers reads the text of a servers.yaml. Unusable entries are
// warnings; the error is for text that is not of this form at all.
func ParseServers(text []byte) ([]Server, Problems, error) {
	top, err := parseYAML(text, maxEntryText)
	if err != nil {
		return nil, nil, fmt.Errorf("reading server entries: %w", err)
	}
	servers, warnings := parseServers(top)
	return servers, warnings, nil
}

func parseServers(top *yaml.Node) (servers []Server, warnings Problems) {
	warn := func(n *yaml.Node, key, why string) {
		warnings = append(warnings, Problem{File: "servers.yaml", Line: n.Line, Key: key, Why: why})
	}
	seen := map[string]bool{}
	for key, value := range pairs(top) {
		if key.Value != "storage" {
			warn(key, key.Value, "ignored; servers are listed under \"storage\"")
		} else if value.Kind != yaml.MappingNode && value.Tag != "!!null" {
			warn(value, key.Value, "not a mapping of server ids")
		}
	}
	for id, entry := range pairs(child(top, "storage")) {
		switch s, err := parseServer(id.Value, entry); {
		case len(servers) == maxEntries:
			warn(id, "", fmt.Sprintf("more than %d servers; this one and the rest are left out", maxEntries))
			return servers, warnings
		case seen[id.Value]:
			warn(id, clipID(id.Value), "the server is there twice; the first counts")
		case err != nil:
			warn(id, clipID(id.Value), "the entry cannot be used: "+err.Error())
		default:
			seen[id.Value] = true
			servers = append(servers, s)
			for _, err := range s.Dropped {
				// Of what this program does not speak, others may make use.
				if !errors.Is(err, furl.ErrNetwork) && !errors.Is(err, furl.ErrVersion) {
					warn(id, clipID(id.Value), "a part of it is left out: "+err.Error())
				}
			}
		}
	}
	return servers, warnings
}

func clipID(id string) string {
	if len(id) > 60 {
		return id[:60] + "…"
	}
	return id
}

func parseServer(id string, entry *yaml.Node) (Server, error) {
	ann := child(entry, "ann")
	if ann == nil || ann.Kind != yaml.MappingNode {
		return Server{}, errors.New("there is no \"ann\" under it")
	}
	var s Server
	var err error
	if s.Server, err = announce.ParseServer(id, fields(ann)); err != nil {
		return s, err
	}
	for k, v := range pairs(child(entry, "connections")) {
		if s.Handlers == nil {
			s.Handlers = map[string]string{}
		}
		s.Handlers[k.Value] = ""
		if v.Tag != "!!null" {
			s.Handlers[k.Value] = strings.ToLower(v.Value)
		}
	}
	return s, nil
}

// fields are what is known by name in an announcement: texts, lists of texts,
// which may be written as sets, and lists of mappings to texts. People write without quotes what YAML
// takes for a number or a date; it is a text all the same.
func fields(ann *yaml.Node) map[string]any {
	m := map[string]any{}
	for k, v := range pairs(ann) {
		switch v.Kind {
		case yaml.ScalarNode:
			if v.Tag != "!!null" {
				m[k.Value] = v.Value
			}
		case yaml.SequenceNode:
			list := []any{}
			for _, e := range v.Content {
				switch e.Kind {
				case yaml.ScalarNode:
					list = append(list, e.Value)
				case yaml.MappingNode: // a certificate
					list = append(list, texts(e))
				}
			}
			m[k.Value] = list
		case yaml.MappingNode:
			set := []any{}
			for e, null := range pairs(v) {
				if null.Tag == "!!null" {
					set = append(set, e.Value)
				}
			}
			m[k.Value] = set
		}
	}
	return m
}

// texts are those of a mapping's values that are texts.
func texts(m *yaml.Node) map[string]any {
	out := map[string]any{}
	for k, v := range pairs(m) {
		if v.Kind == yaml.ScalarNode && v.Tag != "!!null" {
			out[k.Value] = v.Value
		}
	}
	return out
}
