package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/durable"
	"tahoe-go/internal/kit/version"
	"tahoe-go/internal/network/tor/onion"
	"tahoe-go/internal/network/tubcert"
	"tahoe-go/internal/node/config/endpoint"
)

// ErrNotEmpty is returned by Create for a folder with something in it.
var ErrNotEmpty = errors.New("the folder is not empty, and a new node needs one of its own")

// Created is what Create made.
type Created struct {
	Identity Identity
	TubID    string
	// Server is this node as others may list it, where it serves storage at
	// places known now; its entry is in EntryFile. Its ID is "" otherwise.
	Server Server
	// Introducer is the address of an introducer, where it is known now;
	// IntroducerFURLFile holds it.
	Introducer furl.FURL
	// Later are things that were asked for and are not supported yet: the
	// directory is good, and the node will not start with it.
	Later Problems
}

// Create makes a node directory at dir, which must not exist or be empty. now
// dates the certificate. On error nothing is left behind but folders above it;
// the errors are OptionErrors, ErrNotEmpty, Problems for options that contradict each other,
// or those of the file system.
func Create(dir string, o CreateOptions, now time.Time) (Created, error) {
	if err := o.Check(); err != nil {
		return Created{}, err
	}
	o = o.withDefaults()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Created{}, fmt.Errorf("finding the folder: %w", err)
	}
	exists, err := emptyOrAbsent(dir)
	if err != nil {
		return Created{}, err
	}
	w, err := o.place()
	if err != nil {
		return Created{}, err
	}
	parent := filepath.Dir(dir)
	if exists {
		parent = dir // it may be a mount point, and not ours to replace
	}
	temp, err := os.MkdirTemp(parent, ".tahoe-create-")
	if err != nil {
		return Created{}, fmt.Errorf("making the node directory: %w", err)
	}
	defer os.RemoveAll(temp)
	made, err := o.fill(temp, w, now)
	if err != nil {
		return Created{}, err
	}
	if !exists {
		err = os.Rename(temp, dir)
	} else {
		err = moveUp(temp, dir)
	}
	if err != nil {
		return Created{}, fmt.Errorf("making the node directory: %w", err)
	}
	made.Identity.TubCert = filepath.Join(dir, PrivateDir, tubcert.FileName)
	return made, syncFolder(filepath.Dir(dir))
}

func emptyOrAbsent(dir string) (exists bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return false, fmt.Errorf("making the folder above the node directory: %w", err)
		}
		return false, nil
	case err != nil:
		return true, fmt.Errorf("looking into the node directory: %w", err)
	case len(entries) > 0:
		return true, fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	}
	return true, nil
}

// where is what the options come to.
type where struct {
	web       string
	ports     []string
	locations []string
	onionPort int // on this machine
}

func (o CreateOptions) place() (where, error) {
	w := where{web: o.WebPort}
	if strings.EqualFold(o.WebPort, "none") {
		w.web = ""
	}
	if o.listens("tcp") {
		if o.Port != "" {
			w.ports, w.locations = plain(endpoint.Listen, o.Port), plain(endpoint.Location, o.Location)
		} else {
			port, err := o.freePort()
			if err != nil {
				return w, err
			}
			w.ports = append(w.ports, fmt.Sprintf("tcp:%d", port))
			w.locations = append(w.locations, "tcp:"+net.JoinHostPort(strings.Trim(o.Hostname, "[]"), strconv.Itoa(port)))
		}
	}
	if o.listens("tor") {
		w.onionPort = o.Onion.LocalPort
		if w.onionPort == 0 {
			port, err := o.freePort(w.ports...)
			if err != nil {
				return w, err
			}
			w.onionPort = port
		}
		w.ports = append(w.ports, fmt.Sprintf("tcp:%d:interface=127.0.0.1", w.onionPort))
		w.locations = append(w.locations, fmt.Sprintf("tor:%s:%d", strings.ToLower(o.Onion.Host), o.Onion.Port))
	}
	if len(w.ports) == 0 {
		w.ports, w.locations = []string{"disabled"}, []string{"disabled"}
	}
	return w, nil
}

// plain is a checked list in the spelling that every program reads: without
// quotes, and with the kind before each item.
func plain(r endpoint.Role, list string) []string {
	values, err := endpoint.ParseList(r, list)
	if err != nil {
		panic("config: internal error: unchecked endpoint: " + err.Error())
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return texts
}

// freePort finds a port that none of the endpoints has: nobody listens on
// them yet, so the system may name it twice.
func (o CreateOptions) freePort(taken ...string) (int, error) {
	if o.FreePort == nil {
		return 0, errors.New("config: CreateOptions.FreePort is not set")
	}
	for range 10 {
		port, err := o.FreePort()
		if err != nil {
			return 0, fmt.Errorf("finding a free port: %w", err)
		}
		if !slices.Contains(taken, fmt.Sprintf("tcp:%d", port)) {
			return port, nil
		}
	}
	return 0, errors.New("finding a free port: the system names the same one again and again")
}

// fill writes everything into a folder that nobody knows of yet.
func (o CreateOptions) fill(dir string, w where, now time.Time) (Created, error) {
	var made Created
	if err := os.Mkdir(filepath.Join(dir, PrivateDir), 0o700); err != nil {
		return made, err
	}
	private := map[string][]byte{PrivateDir + "/README": []byte(privateReadme)}
	if o.listens("tor") {
		private[onionKeyFile] = []byte(o.Onion.Key.Reveal() + "\n")
	}
	if o.Kind == ClientNode {
		private[serversFile] = []byte("storage: {}\n")
		if !o.Introducer.IsZero() {
			private[introsFile] = introducersText(o.Introducer)
		}
	}
	for name, text := range private {
		if err := durable.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return made, fmt.Errorf("writing %s: %w", name, err)
		}
	}
	if err := durable.WriteFile(filepath.Join(dir, "tahoe-"+string(o.Kind)+".tac"), []byte(tacText), 0o644); err != nil {
		return made, err
	}
	if err := durable.WriteFile(filepath.Join(dir, FileName), []byte(o.cfg(w)), 0o644); err != nil {
		return made, err
	}
	c, err := Options{Home: dir}.Load(dir)
	if ps, ok := errors.AsType[Problems](err); ok {
		for _, p := range ps {
			if !p.Later {
				return made, ps
			}
		}
		made.Later = ps
	} else if err != nil {
		return made, err
	}
	return made, made.identify(dir, c, now)
}

// identify makes what the node is known by.
func (m *Created) identify(dir string, c *Config, now time.Time) error {
	var err error
	if c.Kind == ClientNode {
		if m.Identity, err = EnsureIdentity(dir); err != nil {
			return err
		}
	}
	private, err := os.OpenRoot(filepath.Join(dir, PrivateDir))
	if err != nil {
		return err
	}
	defer private.Close()
	cert, err := tubcert.LoadOrCreate(private, tubcert.FileName, now)
	if err != nil {
		return fmt.Errorf("making the certificate: %w", err)
	}
	m.TubID = cert.TubID()
	if err := WriteNodeID(dir, m.TubID); err != nil {
		return err
	}
	if url := webURL(c.Node.WebPort); url != "" {
		if err := WriteNodeURL(dir, url); err != nil {
			return err
		}
	}
	if c.Kind == IntroducerNode {
		m.Introducer, err = EnsureFURL(dir, IntroducerFURLFile, m.TubID, Hints(c.Node.TubLocation))
		return err
	}
	if _, err := NewAuthToken(dir); err != nil {
		return err
	}
	hints := Hints(c.Node.TubLocation)
	if !c.Storage.Enabled {
		return nil
	}
	m.Server, err = EnsureServer(dir, m.Identity, cert, c.Offer(hints))
	return err
}

// Offer is how a storage server presents itself.
type Offer struct {
	Nickname   string
	Hints      []furl.Hint
	HaveShares bool // the folder of shares was in use before; see EnsureSeed
	// NoHTTP: Foolscap is all it speaks. OnionNURLs: NURLs of onion services
	// stand among the others, where the Python program sees them.
	NoHTTP, OnionNURLs bool
	Certificates       []announce.Certificate // of grid managers
}

// EnsureServer makes or reads what a storage server announces: its fURL with
// these hints, its NURLs and its place in the order of servers. It writes
// EntryFile, unless there are no hints.
func EnsureServer(dir string, id Identity, cert tubcert.Cert, o Offer) (Server, error) {
	seed, err := id.EnsureSeed(dir, cert.TubIDBytes(), o.HaveShares)
	if err != nil {
		return Server{}, err
	}
	f, err := EnsureFURL(dir, StorageFURLFile, cert.TubID(), o.Hints)
	if err != nil {
		return Server{}, err
	}
	s := Server{Server: announce.Server{ID: id.ServerID, Nickname: o.Nickname, Version: version.Application, FURL: f, Seed: seed, GridManagerCerts: o.Certificates}}
	if !o.NoHTTP {
		for _, n := range f.NURLs(cert.SPKI()) {
			if n.Tor && !o.OnionNURLs {
				s.OnionNURLs = append(s.OnionNURLs, n)
			} else {
				s.NURLs = append(s.NURLs, n)
			}
		}
	}
	if len(o.Hints) == 0 {
		return s, nil
	}
	return s, s.WriteEntry(dir)
}

// Hints are those of a location that are known without looking at the
// machine or asking tor.
func Hints(location []endpoint.Value) []furl.Hint {
	var hints []furl.Hint
	for _, v := range location {
		switch h := v.(type) {
		case endpoint.Hint:
			hints = append(hints, h.Hint)
		case endpoint.Onion:
			if key, err := onion.ReadKeyFile(h.PrivateKeyFile); h.PrivateKeyFile != "" && err == nil {
				hints = append(hints, OnionHint(key.Address(), h.Port))
			}
		}
	}
	return hints
}

// OnionHint is how others are told of an onion service.
func OnionHint(a onion.Address, port int) furl.Hint {
	return furl.Hint{Kind: furl.Tor, Host: a.String(), Port: port}
}

// webURL is the address of a gateway with a fixed port, or "".
func webURL(v endpoint.Value) string {
	scheme, port := "http", 0
	switch p := v.(type) {
	case endpoint.TCP:
		port = p.Port
	case endpoint.SSL:
		scheme, port = "https", p.Port
	}
	if port == 0 {
		return ""
	}
	return fmt.Sprintf("%s://127.0.0.1:%d/", scheme, port)
}

// moveUp moves what is in temp into dir, the .tac file, which makes it a node
// directory, last.
func moveUp(temp, dir string) error {
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	tac := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".tac" })
	last := len(entries) - 1
	entries[tac], entries[last] = entries[last], entries[tac]
	for i, e := range entries {
		if err := os.Rename(filepath.Join(temp, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			for _, moved := range entries[:i] {
				os.RemoveAll(filepath.Join(dir, moved.Name()))
			}
			return err
		}
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return durable.FS{Root: root}.SyncDir(".")
}
