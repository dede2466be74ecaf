package config

import (
	"path/filepath"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/node/config/endpoint"
	"tahoe-go/internal/node/config/ini"
)

// Kind is what a node directory is for.
type Kind string

// The kinds of node. A client may serve storage too.
const (
	ClientNode     Kind = "client"
	IntroducerNode Kind = "introducer"
)

// Config is a node directory as read by Load. Paths are absolute. It is not
// changed after Load and may be shared.
type Config struct {
	Dir  string
	Kind Kind

	Node        Node
	Connections Connections
	Tor         Tor
	I2P         I2P
	Client      Client
	Storage     Storage
	Helper      Helper
	SFTPD       SFTPD

	GridManagers     map[string]string            // petname → pub-v0-…
	Managers         []announce.Key               // these keys
	GridCertificates map[string]string            // name → path
	Certificates     []announce.Certificate       // what is in these files, if it is to be announced
	Plugins          map[string]map[string]string // section storage{server,client}.plugins.NAME → its keys

	Introducers []Introducer // private/introducers.yaml and [client] introducer.furl
	Servers     []Server     // private/servers.yaml

	// Warnings are for the operator to see; the node starts with them.
	Warnings Problems

	fakeLocation bool // tub.location was client.fakelocation:0, and means UNREACHABLE

	file     *ini.File
	problems Problems
	options  Options
}

// Node is the section [node].
type Node struct {
	Nickname  string
	WebPort   endpoint.Value // nil: no web gateway; its interface is no name
	WebHost   string         // the name in web.port, if it had one
	WebStatic string

	// TubPort is where to listen; nil: where TubLocation needs a port, choose a
	// free one and write it to client.port. TubLocation is what to announce; nil:
	// as AUTO. Onion services are opened too, those of either list: Onions. Both are nil
	// where Listens is false. In a Tor-only node, TCP ports without an interface
	// have got that of loopback.
	TubPort     []endpoint.Value
	TubLocation []endpoint.Value
	// Listens says that others can reach this node.
	Listens bool

	RevealIP    bool // as written; ask Config.TorOnly
	TorOnly     bool // tor_only.enabled as written; ask Config.TorOnly
	LockDown    bool // of a Tor-only node
	LogGatherer redact.Secret
	KeepAlive   time.Duration // 0: the protocol's default; negative: never
	Disconnect  time.Duration // likewise
	TempDir     string
}

// Connections is the section [connections].
type Connections struct {
	TCP string // "tcp", "tor" or "disabled": what carries tcp: hints
}

// Tor is the section [tor].
type Tor struct {
	Enabled    bool
	Launch     bool
	Executable string         // "": found on PATH
	SocksPort  endpoint.Value // DialTCP or DialUnix; nil: look in the usual places
	Control    endpoint.Value // the same
	Onion      bool
	LocalPort  int
	Port       int // inside the onion address
	KeyFile    string
}

// I2P is the section [i2p]. Nothing of it is supported yet.
type I2P struct {
	Enabled    bool
	SAMPort    endpoint.Value
	Launch     bool
	ConfigDir  string
	Executable string
	Dest       bool
	DestPort   int
	KeyFile    string
}

// Client is the section [client].
type Client struct {
	Introducer    redact.Secret // in Config.Introducers too
	Helper        redact.Secret
	KeyGenerator  redact.Secret // obsolete
	Needed        int           // k
	Happy         int
	Total         int   // N
	MaxSegment    int64 // of immutable files, in bytes
	MDMF          bool  // new mutable files are MDMF
	MutableFormat string
	Preferred     []string // server ids
	Plugins       []string
	ForceFoolscap bool
}

// Storage is the section [storage].
type Storage struct {
	Enabled       bool
	Anonymous     bool
	ReadOnly      bool
	Reserved      int64 // bytes
	Dir           string
	Discard       bool
	Expire        Expire
	Plugins       []string
	GridManaged   bool
	ForceFoolscap bool
	OnionNURLs    bool // announce those of onion services where the Python program sees them
}

// Expire is the expire.* keys of [storage].
type Expire struct {
	Enabled   bool
	Mode      string        // "age" or "cutoff-date"
	Duration  time.Duration // 0: what each lease says
	Cutoff    time.Time     // UTC
	Immutable bool
	Mutable   bool
}

// Helper is the section [helper].
type Helper struct{ Enabled bool }

// SFTPD is the section [sftpd].
type SFTPD struct {
	Enabled  bool
	Port     endpoint.Value
	Accounts string
	PubKey   string
	PrivKey  string
}

// Introducer is one entry of private/introducers.yaml.
type Introducer struct {
	Petname string
	FURL    furl.FURL
}

// TorOnly reports whether this node's address must stay hidden: nothing
// may leave it except through Tor, and nobody may be told where it is but by
// an onion address.
func (c *Config) TorOnly() bool {
	return c.Node.TorOnly || !c.Node.RevealIP || c.options.Torsocks
}

// Offer is how the storage server presents itself at these places.
func (c *Config) Offer(hints []furl.Hint) Offer {
	return Offer{Nickname: c.Node.Nickname, Hints: hints, NoHTTP: c.Storage.ForceFoolscap, OnionNURLs: c.Storage.OnionNURLs, Certificates: c.Certificates}
}

// Private returns the path of a file in the private folder.
func (c *Config) Private(name string) string { return filepath.Join(c.Dir, "private", name) }

// IsSet reports whether tahoe.cfg sets the key (in the section or in
// [DEFAULT]).
func (c *Config) IsSet(section, key string) bool { return c.has(section, key) }
