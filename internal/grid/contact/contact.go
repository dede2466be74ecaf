// Package contact makes the clients by which a grid.Grid speaks to storage
// servers: gbs for the HTTP protocol, foolscapstore for Foolscap.
//
// No two servers can tell that one client uses both: each has Tor circuits of
// its own, and for Foolscap an identity of its own, new in each run. The
// network decides what may be dialled; this package dials nothing by itself
// and keeps no state on disk. Start with New:
//
//	pool := contact.New(contact.Config{Network: network})
//	g := grid.New(grid.Config{Open: pool.Open})
package contact

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/foolscapstore"
	"tahoe-go/internal/storage/gbs"
)

// Config says how servers are reached.
type Config struct {
	Network netx.Network // the node's; required
	// Direct carries what servers.yaml wants dialled without Tor although the
	// node's connections go through it. nil: that is refused.
	Direct   netx.Network
	Timeouts gbs.Timeouts    // of the HTTP protocol
	Limits   foolscap.Limits // of Foolscap: Keepalive and Disconnect, say
	Log      *slog.Logger    // nil: none
}

// Pool keeps one client per address, so that reconnecting to a server uses the
// connections that still stand. It may be used concurrently.
type Pool struct {
	c       Config
	closing sync.WaitGroup // of clients that are not wanted any longer

	mu      sync.Mutex // guards below
	closed  bool
	servers map[string]*contacts // by server id
}

// contacts are the clients of one server.
type contacts struct {
	clients []client // the one asked for last at the end
	tubs    map[bool]*foolscap.Tub
}

// client is a client of one address.
type client struct {
	key    key
	server storage.Server
	close  func() error
}

// key tells addresses of one server apart.
type key struct {
	protocol grid.Protocol
	direct   bool
	nurl     furl.NURL
	tubID    string
	furl     string // swissnum and all
}

// most is how many clients of one server are kept. Its announcements may name
// new addresses without end.
const most = 128

// New returns a Pool. Close it after the grid.
func New(c Config) *Pool {
	if c.Network == nil {
		panic("contact: internal error: Config.Network is nil")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{c: c, servers: map[string]*contacts{}}
}

// ErrDirect says why an address of servers.yaml is not dialled.
var ErrDirect = errors.New("refused by network policy: servers.yaml has connections: tcp: tcp for this server, but this node does not connect without Tor; see reveal-IP-address and [connections] tcp in tahoe.cfg")

// Open implements grid.Config.Open.
func (p *Pool) Open(k grid.Known, at grid.Address) (storage.Server, error) {
	network := p.c.Network
	if at.Direct {
		if network = p.c.Direct; network == nil {
			return nil, ErrDirect
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("this node is stopping")
	}
	cs := p.servers[k.ID]
	if cs == nil {
		cs = &contacts{tubs: map[bool]*foolscap.Tub{}}
		p.servers[k.ID] = cs
	}
	want := key{protocol: at.Protocol, direct: at.Direct, nurl: at.NURL, tubID: k.FURL.TubID}
	if at.Protocol == grid.Foolscap {
		want.furl = at.FURL.Reveal()
	}
	if i := slices.IndexFunc(cs.clients, func(c client) bool { return c.key == want }); i >= 0 {
		c := cs.clients[i]
		cs.clients = append(slices.Delete(cs.clients, i, i+1), c)
		return c.server, nil
	}
	c := client{key: want}
	switch at.Protocol {
	case grid.Foolscap:
		tub, err := cs.tub(p.c, network, at.Direct)
		if err != nil {
			return nil, err
		}
		fc := foolscapstore.NewClient(foolscapstore.Config{Tub: tub, FURL: at.FURL, Isolation: isolation(k), OnDemand: true})
		c.server, c.close = fc, fc.Close
	default:
		gc := gbs.NewClient(gbs.Config{Network: marking{network}, NURL: at.NURL, TubID: want.tubID, Isolation: isolation(k), Timeouts: p.c.Timeouts})
		c.server, c.close = gc, gc.Close
	}
	if len(cs.clients) == most {
		old := cs.clients[0]
		p.closing.Go(func() { old.close() }) // it waits for what it has begun
		cs.clients = slices.Delete(cs.clients, 0, 1)
	}
	cs.clients = append(cs.clients, c)
	return c.server, nil
}

// marking is a network whose refusals and failures to connect are
// grid.ErrNoConnection.
type marking struct{ netx.Network }

func (m marking) Dial(ctx context.Context, a netx.Addr) (net.Conn, error) {
	c, err := m.Network.Dial(ctx, a)
	if err != nil {
		return nil, &unconnected{err}
	}
	return c, nil
}

// Hints implements netx.Hinter.
func (m marking) Hints(a netx.Addr) netx.Hints { return netx.HintsFor(m.Network, a) }

// unconnected says what its error says.
type unconnected struct{ err error }

func (e *unconnected) Error() string   { return e.err.Error() }
func (e *unconnected) Unwrap() []error { return []error{e.err, grid.ErrNoConnection} }

// isolation names the circuits of a server.
func isolation(k grid.Known) string { return "storage:" + k.ID }

// tub returns the identity for one server, and makes it when it is first
// wanted.
func (cs *contacts) tub(c Config, network netx.Network, direct bool) (*foolscap.Tub, error) {
	if t := cs.tubs[direct]; t != nil {
		return t, nil
	}
	t, err := NewTub(network, c.Limits, c.Log)
	if err != nil {
		return nil, err
	}
	cs.tubs[direct] = t
	return t, nil
}

// NewTub returns a Tub that nobody has seen before and that only connects to
// others: for what should not be linked with a node's other connections.
func NewTub(network netx.Network, limits foolscap.Limits, log *slog.Logger) (*foolscap.Tub, error) {
	cert, err := tubcert.Ephemeral()
	if err != nil {
		return nil, fmt.Errorf("making an identity: %w", err)
	}
	return foolscap.New(foolscap.Config{Cert: cert, Network: network, Limits: limits, Log: log})
}

// goodbye bounds the wait for what is being written when the Pool closes.
const goodbye = 5 * time.Second

// Close closes all clients and their connections.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	all := p.servers
	p.servers = map[string]*contacts{}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, 1)
	for _, cs := range all {
		wg.Go(func() {
			for _, t := range cs.tubs { // first: it ends what the clients wait for
				t.Close(ctx)
			}
			for _, c := range cs.clients {
				if err := c.close(); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	wg.Wait()
	p.closing.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
