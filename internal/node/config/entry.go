package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/durable"
)

// EntryFile is where a storage node leaves its own entry for the servers.yaml
// of clients. It holds the swissnum: who has it can use the server.
const EntryFile = "private/server-entry.yaml"

// Entry returns s as the text of a servers.yaml with this one server, which
// clients of this and of the reference program read.
func (s Server) Entry() []byte {
	ann := mapping(
		"nickname", text(s.Nickname),
		"permutation-seed-base32", text(base32.Encode(s.Seed)),
		"anonymous-storage-FURL", text(s.FURL.Reveal()),
	)
	for _, l := range []struct {
		key   string
		nurls []furl.NURL
	}{{announce.NURLsField, s.NURLs}, {announce.OnionNURLsField, s.OnionNURLs}} {
		if len(l.nurls) == 0 {
			continue
		}
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, n := range l.nurls {
			list.Content = append(list.Content, text(n.Reveal()))
		}
		ann.Content = append(ann.Content, text(l.key), list)
	}
	if len(s.GridManagerCerts) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, c := range s.GridManagerCerts {
			list.Content = append(list.Content, mapping("certificate", text(c.Text), "signature", text(base32.Encode(c.Signature[:]))))
		}
		ann.Content = append(ann.Content, text(announce.CertificatesField), list)
	}
	return marshal(mapping("storage", mapping(s.ID, mapping("ann", ann))))
}

// WriteEntry writes s to EntryFile of its own node directory.
func (s Server) WriteEntry(dir string) error { return keep(dir, EntryFile, string(s.Entry()), 0o600) }

func mapping(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		m.Content = append(m.Content, text(pairs[i].(string)), pairs[i+1].(*yaml.Node))
	}
	return m
}

// text is a node that reads back as this string, quoted if need be.
func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func marshal(n *yaml.Node) []byte {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		panic("config: internal error: " + err.Error()) // we made the node
	}
	enc.Close()
	return b.Bytes()
}

// ErrNoServer is returned by AddServers for a text without a usable entry.
var ErrNoServer = errors.New("there is no usable server entry in it")

// AddServers puts the servers of an entry text into a node's
// private/servers.yaml, replacing those with the same id and keeping all else.
// It returns the added servers. The node reads the file when it starts.
func AddServers(dir string, entry []byte) ([]Server, error) {
	servers, warnings, err := ParseServers(entry)
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrNoServer, warnings)
	}
	if len(servers) == 0 {
		return nil, ErrNoServer
	}
	path := filepath.Join(dir, serversFile)
	old, err := readLimited(path, maxYAML+1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("adding servers: %w", err)
	}
	merged, err := mergeServers(old, servers)
	if err != nil {
		return nil, fmt.Errorf("adding servers to %s: %w", serversFile, err)
	}
	if err := durable.WriteFile(path, merged, 0o600); err != nil {
		return nil, fmt.Errorf("adding servers: %w", err)
	}
	return servers, nil
}

// mergeServers works on the yaml tree, so that comments and fields that this
// program does not know stay.
func mergeServers(old []byte, servers []Server) ([]byte, error) {
	top, err := parseYAML(old, maxYAML)
	if err != nil {
		return nil, err
	}
	list := child(top, "storage")
	if list == nil || list.Kind != yaml.MappingNode {
		list = &yaml.Node{Kind: yaml.MappingNode}
		set(top, "storage", list)
	}
	list.Style = 0 // not "{}"
	for _, s := range servers {
		one, err := parseYAML(s.Entry(), maxYAML)
		if err != nil {
			return nil, err
		}
		set(list, s.ID, child(child(one, "storage"), s.ID))
	}
	merged := marshal(top)
	if len(merged) > maxYAML || len(list.Content) > 2*maxEntries {
		return nil, errors.New("the file would become too large")
	}
	return merged, nil
}

// set gives a key of a mapping its value, in place of the old one.
func set(m *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = v
			return
		}
	}
	m.Content = append(m.Content, text(key), v)
}
