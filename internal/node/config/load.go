package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tahoe-go/internal/node/config/ini"
)

// Names of files in a node directory.
const (
	FileName    = "tahoe.cfg"
	PortFile    = "client.port" // introducers use it too
	PrivateDir  = "private"
	serversFile = "private/servers.yaml"
	introsFile  = "private/introducers.yaml"
)

// Options are facts about the process that a node directory does not hold.
type Options struct {
	Home string // what ~ stands for; "" makes ~ a problem
	// Torsocks: the process was started under torsocks, which is taken as
	// the wish for a Tor-only node.
	Torsocks bool
}

// Load is Options.Load without options.
func Load(dir string) (*Config, error) { return Options{}.Load(dir) }

// Load reads and checks a node directory. If it has problems, the error is
// a Problems with all of them, and the Config what could be made of the rest,
// which no node must be run with. Other errors mean that dir cannot be read;
// the Config is then nil. A missing tahoe.cfg counts as an empty one.
func (o Options) Load(dir string) (*Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the node directory: %w", err)
	}
	kind, err := KindOf(dir)
	if err != nil && !errors.Is(err, ErrNoNode) {
		return nil, err
	}
	c := &Config{Dir: dir, Kind: kind, options: o}
	text, err := readLimited(filepath.Join(dir, FileName), ini.MaxSize+1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c.oldFiles()
	c.parse(text)
	c.readPort()
	c.readIntroducers()
	c.readServers()
	c.check()
	return c, c.problems.orNil()
}

// ErrNoNode is returned for a folder that is no node directory.
var ErrNoNode = errors.New("not a node directory")

// KindOf says what a node directory is for, from the name of its .tac file.
// Without one, it returns ClientNode and ErrNoNode.
func KindOf(dir string) (Kind, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("reading the node directory: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".tac")
		if !ok {
			continue
		}
		for _, k := range []Kind{ClientNode, IntroducerNode} {
			if strings.Contains(name, string(k)) {
				return k, nil
			}
		}
	}
	return ClientNode, fmt.Errorf("%w: there is no .tac file in %s", ErrNoNode, dir)
}

func readLimited(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// ancient files were configuration before version 1.3, one value each.
var ancient = []string{"nickname", "webport", "keepalive_timeout", "log_gatherer.furl", "disconnect_timeout",
	"advertised_ip_addresses", "introducer.furl", "helper.furl", "key_generator.furl", "stats_gatherer.furl",
	"no_storage", "readonly_storage", "sizelimit", "debug_discard_storage", "run_helper"}

func (c *Config) oldFiles() {
	for _, name := range ancient {
		if name == "introducer.furl" && c.Kind == IntroducerNode {
			continue
		}
		if _, err := os.Lstat(filepath.Join(c.Dir, name)); err == nil {
			c.problems = append(c.problems, Problem{File: name, Why: "a configuration file from before version 1.3",
				Remedy: "put its value into tahoe.cfg and delete it"})
		}
	}
}

// parse reads tahoe.cfg's text into c. Problems are collected.
func (c *Config) parse(text []byte) {
	f, errs := ini.Parse(text)
	c.file = f
	for _, e := range errs {
		c.problems = append(c.problems, Problem{File: FileName, Line: e.Line, Why: e.Why})
	}
	c.unknown()
	for _, k := range keys {
		c.read(k)
	}
	c.Client.MDMF = strings.EqualFold(c.Client.MutableFormat, "MDMF")
	c.GridManagers = c.section(gridManagers)
	c.GridCertificates = c.section(gridCertificates)
	for _, s := range f.Sections() {
		if isPlugin(s) {
			if c.Plugins == nil {
				c.Plugins = map[string]map[string]string{}
			}
			c.Plugins[s] = c.section(s)
		}
	}
}

// read sets one field, from its default and then from the file.
func (c *Config) read(k Key) {
	v := k.at(c)
	if k.Default != "" {
		if err := v.set(c, k.Default); err != nil {
			panic("config: internal error: default of " + k.Name + ": " + err.Error())
		}
	}
	text, ok, err := c.file.Get(k.Section, k.Name)
	switch {
	case err != nil && strings.HasSuffix(k.Name, ".furl"):
		err = errors.New("a percent sign in it is written %%") // and no piece of a secret shown
	case err == nil && ok:
		err = v.set(c, text)
	}
	if err != nil {
		c.problem(k.Section, k.Name, err.Error(), "")
	}
}

func (c *Config) section(name string) map[string]string {
	var m map[string]string
	for _, key := range c.file.Keys(name) {
		text, _, err := c.file.Get(name, key)
		if err != nil {
			c.problem(name, key, err.Error(), "")
			continue
		}
		if m == nil {
			m = map[string]string{}
		}
		m[key] = text
	}
	return m
}

// place fills in where a key of tahoe.cfg stands.
func (c *Config) place(section, key string) Problem {
	p := Problem{File: FileName, Key: "[" + section + "]", Line: c.file.Line(section)}
	if key != "" {
		p.Key += " " + key
		if line := c.file.KeyLine(section, key); line > 0 {
			p.Line = line
		}
	}
	return p
}

func (c *Config) problem(section, key, why, remedy string) {
	p := c.place(section, key)
	p.Why, p.Remedy = why, remedy
	c.problems = append(c.problems, p)
}

func (c *Config) warn(section, key, why, remedy string) {
	p := c.place(section, key)
	p.Why, p.Remedy = why, remedy
	c.Warnings = append(c.Warnings, p)
}

// unknown reports sections and keys that no node has.
func (c *Config) unknown() {
	known := sectionNames()
	if c.Kind == IntroducerNode {
		known = known[:introducerSections]
	}
	for _, s := range c.file.Sections() {
		switch {
		case slices.Contains(known, s):
			c.unknownKeys(s)
		case c.Kind == IntroducerNode && (slices.Contains(sectionNames(), s) || freeForm(s)):
			c.problem(s, "", "an introducer has no such section", "delete it, or make a client node for it")
		case freeForm(s):
		default:
			c.problem(s, "", "unknown section", nearest(s, append(known, gridManagers, gridCertificates)))
		}
	}
	c.unknownDefaults()
}

func (c *Config) unknownKeys(section string) {
	names := keyNames(section)
	for _, key := range c.file.Keys(section) {
		if slices.Contains(names, key) {
			continue
		}
		remedy := gone[section+"/"+key]
		if remedy == "" {
			remedy = elsewhere(section, key)
		}
		if remedy == "" {
			remedy = nearest(key, names)
		}
		c.problem(section, key, "unknown key", remedy)
	}
}

// unknownDefaults reports keys of [DEFAULT] that mean nothing anywhere.
func (c *Config) unknownDefaults() {
	var used []string
	for _, s := range append(c.file.Sections(), ini.Default) {
		used = append(used, c.file.References(s)...)
	}
	for _, k := range keys {
		used = append(used, strings.ToLower(k.Name))
	}
	for _, key := range c.file.Keys(ini.Default) {
		if !slices.Contains(used, key) {
			c.problem(ini.Default, key, "neither a key of any section nor used in a %(…)s", nearest(key, used))
		}
	}
}

func sectionNames() []string {
	var names []string
	for _, s := range sectionDocs {
		names = append(names, s.name)
	}
	return names
}

// keyNames returns a section's keys in lower case.
func keyNames(section string) []string {
	var names []string
	for _, k := range keys {
		if k.Section == section {
			names = append(names, strings.ToLower(k.Name))
		}
	}
	return names
}

func elsewhere(section, key string) string {
	for _, k := range keys {
		if k.Section != section && strings.EqualFold(k.Name, key) {
			return fmt.Sprintf("it belongs into [%s]", k.Section)
		}
	}
	return ""
}

func isPlugin(section string) bool {
	return strings.HasPrefix(section, "storageserver.plugins.") || strings.HasPrefix(section, "storageclient.plugins.")
}

// readPort takes the port that an earlier run chose.
func (c *Config) readPort() {
	if c.Node.TubPort != nil || c.file.KeyLine("node", "tub.port") > 0 {
		return
	}
	text, err := readLimited(filepath.Join(c.Dir, PortFile), 1024)
	if err != nil {
		return // a new node has none
	}
	k := keys[slices.IndexFunc(keys, func(k Key) bool { return k.Name == "tub.port" })]
	if err := k.at(c).set(c, strings.TrimSpace(string(text))); err != nil {
		c.problems = append(c.problems, Problem{File: PortFile, Line: 1, Why: err.Error(), Remedy: "delete the file to have another port chosen"})
	}
}
