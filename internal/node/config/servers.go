package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/furl"
)

// Server is a storage server from private/servers.yaml.
type Server struct {
	ID       string // "v0-…", or whatever the file calls it
	Nickname string
	FURL     furl.FURL   // its TubID also seeds lease secrets
	NURLs    []furl.NURL // empty: speaks only Foolscap
	Seed     []byte      // its place in the permuted order of servers
	// Handlers maps kinds of hints to what carries them ("tcp", "tor", "i2p"),
	// for Foolscap.
	Handlers map[string]string
}

const (
	maxNickname = 1000
	maxSeed     = 1 << 10
	maxNURLs    = 64
	// maxEntryText bounds what others hand us to add to servers.yaml.
	maxEntryText = 64 << 10
)

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
	if len(id) == 0 || len(id) > 200 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return Server{}, errors.New("that is no server id")
	}
	s := Server{ID: id, Nickname: scalar(ann, "nickname")}
	if len(s.Nickname) > maxNickname || !utf8.ValidString(s.Nickname) {
		return Server{}, errors.New("the nickname is too long")
	}
	text := scalar(ann, "anonymous-storage-FURL")
	if text == "" {
		return Server{}, errors.New("there is no anonymous-storage-FURL")
	}
	f, err := furl.ParseFURL(text)
	if err != nil {
		return Server{}, fmt.Errorf("anonymous-storage-FURL: %w", err)
	}
	s.FURL = f
	if s.NURLs, err = parseNURLs(child(ann, "anonymous-storage-NURLs")); err != nil {
		return Server{}, err
	}
	if s.Seed, err = seed(id, scalar(ann, "permutation-seed-base32")); err != nil {
		return Server{}, err
	}
	for k, v := range pairs(child(entry, "connections")) {
		if s.Handlers == nil {
			s.Handlers = map[string]string{}
		}
		s.Handlers[k.Value] = v.Value
	}
	return s, nil
}

func scalar(m *yaml.Node, key string) string {
	if n := child(m, key); n != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return n.Value
	}
	return ""
}

// parseNURLs reads a list, or the keys of a set. NURLs of networks and
// versions that this program does not speak are left out.
func parseNURLs(n *yaml.Node) ([]furl.NURL, error) {
	if n == nil {
		return nil, nil
	}
	var texts []*yaml.Node
	switch n.Kind {
	case yaml.SequenceNode:
		texts = n.Content
	case yaml.MappingNode:
		for k := range pairs(n) {
			texts = append(texts, k)
		}
	default:
		return nil, errors.New("anonymous-storage-NURLs is not a list")
	}
	if len(texts) > maxNURLs {
		return nil, fmt.Errorf("more than %d NURLs", maxNURLs)
	}
	var nurls []furl.NURL
	for _, t := range texts {
		nurl, err := furl.ParseNURL(t.Value)
		if errors.Is(err, furl.ErrNetwork) || errors.Is(err, furl.ErrVersion) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("anonymous-storage-NURLs: %w", err)
		}
		nurls = append(nurls, nurl)
	}
	return nurls, nil
}

// seed is the announced permutation seed, else the server's public key, else
// a hash of its id, as the reference has it.
func seed(id, text string) ([]byte, error) {
	if text != "" {
		b, err := base32.Decode(text)
		if err != nil || len(b) == 0 || len(b) > maxSeed {
			return nil, errors.New("permutation-seed-base32 is not base32")
		}
		return b, nil
	}
	if key, ok := strings.CutPrefix(id, "v0-"); ok && len(key) == 52 {
		if b, err := base32.Decode(strings.ToLower(key)); err == nil {
			return b, nil
		}
	}
	h := sha256.Sum256([]byte(id))
	return h[:], nil
}
