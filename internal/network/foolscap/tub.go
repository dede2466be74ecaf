package foolscap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
)

// Config is what a Tub is made of.
type Config struct {
	Cert    tubcert.Cert // who the Tub is; required
	Network netx.Network // for Dial and Keep; nil: the Tub only takes connections
	Hints   []furl.Hint  // where it can be reached, for the addresses of its objects
	Limits  Limits
	Log     *slog.Logger // nil: none
}

// Limits bound what peers can make a Tub do and spend. A zero field is its
// default.
type Limits struct {
	Stage      time.Duration // for each part (request, TLS, hello) of an inbound negotiation: 45 s; outbound ones go by netx.HintsFor
	Stall      time.Duration // for a peer that stops in the middle of a message, or does not take what is sent: 2 min
	Keepalive  time.Duration // after this long without a word the peer is asked for a sign of life: 4 min; negative: never
	Disconnect time.Duration // a connection on which nothing was heard for so long is dropped: three times Keepalive; negative: never
	Half       int           // inbound connections that are still negotiating; one more, and the oldest is dropped: 1000
	Peers      int           // connections; one more, and the inbound one that was silent longest is dropped: 4000
	Calls      int           // of ours unanswered on one connection, before the next one waits; the peer may have twice as many: 64
	CallBytes  int64         // likewise for the bytes of arguments: 8 MiB
	Memory     int64         // for the arguments of all peers' calls together, 128 KiB of each call free; beyond it calls are refused: 512 MiB
	Call       int64         // for the arguments of a call whose Method names no Limit: 1 MiB
	Answer     int64         // for the result of a call: 64 MiB
	Skip       int64         // of a refused message that are read before the connection is given up: 64 MiB
	References int           // to objects of one side, on one connection: 8192
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Stage, 45*time.Second)
	setDefault(&l.Stall, 2*time.Minute)
	setDefault(&l.Keepalive, 4*time.Minute)
	setDefault(&l.Disconnect, 3*max(l.Keepalive, 0))
	setDefault(&l.Half, 1000)
	setDefault(&l.Peers, 4000)
	setDefault(&l.Calls, 64)
	setDefault(&l.CallBytes, 8<<20)
	setDefault(&l.Memory, 512<<20)
	setDefault(&l.Call, 1<<20)
	setDefault(&l.Answer, 64<<20)
	setDefault(&l.Skip, 64<<20)
	setDefault(&l.References, 8192)
	return l
}

func setDefault[T comparable](p *T, v T) {
	if *p == *new(T) {
		*p = v
	}
}

// Tub is one Foolscap identity with all its connections. Its methods may be
// called concurrently.
type Tub struct {
	id     identity
	net    netx.Network
	limits Limits
	log    *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // what was begun by Dial and Keep, and Serve
	memory atomic.Int64   // that large arguments take

	mu       sync.Mutex // guards below; no other lock is taken while it is held
	closed   bool
	hints    []furl.Hint
	conns    map[string]*Conn // by TubID
	changed  chan struct{}    // closed and replaced when a connection comes
	masterOf map[string]int   // connections with each peer of which this side was the master
	slaveOf  map[string]record
	names    map[[32]byte]*Object
	nameOf   map[*Object]redact.Secret
	dials    map[string]*attempt
	half     halfOpen
}

// identity is who a Tub is to its peers.
type identity struct {
	tubID       string
	incarnation string // of this process
	tls         *tls.Config
}

// New returns a Tub. It does nothing by itself.
func New(conf Config) (*Tub, error) {
	if conf.Cert.IsZero() {
		return nil, errors.New("foolscap: Config.Cert is missing")
	}
	return newTub(conf, identity{tubID: conf.Cert.TubID(), incarnation: newIncarnation(), tls: tlsConfig(conf.Cert.TLS())}), nil
}

func newTub(conf Config, id identity) *Tub {
	t := &Tub{
		id: id, net: conf.Network, hints: slices.Clone(conf.Hints), limits: conf.Limits.withDefaults(), log: conf.Log,
		conns: map[string]*Conn{}, changed: make(chan struct{}),
		masterOf: map[string]int{}, slaveOf: map[string]record{},
		names: map[[32]byte]*Object{}, nameOf: map[*Object]redact.Secret{},
		dials: map[string]*attempt{},
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.net == nil {
		t.net = netx.Denied{}
	}
	t.half.most = t.limits.Half
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	return t
}

func newIncarnation() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// NewSwissnum returns an unguessable name, as Foolscap makes them.
func NewSwissnum() redact.Secret { return redact.New(strings.ToLower(rand.Text() + rand.Text())[:32]) }

// SetHints changes where the Tub says it can be reached, for the addresses
// given out from now on.
func (t *Tub) SetHints(hints []furl.Hint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hints = slices.Clone(hints)
}

// TubID is the Tub's name.
func (t *Tub) TubID() string { return t.id.tubID }

// Conns returns the connections that stand.
func (t *Tub) Conns() []*Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	var cs []*Conn
	for _, c := range t.conns {
		cs = append(cs, c)
	}
	slices.SortFunc(cs, func(a, b *Conn) int { return strings.Compare(a.peer, b.peer) })
	return cs
}

// Close ends all connections, after what waits to be written, and waits for
// all that the Tub has begun, its methods' calls among them. The context bounds
// the wait for the former only.
func (t *Tub) Close(ctx context.Context) {
	t.mu.Lock()
	t.closed = true
	var conns []*Conn
	for _, c := range t.conns {
		conns = append(conns, c)
	}
	t.mu.Unlock()
	for _, c := range conns {
		c.finish()
	}
	for _, c := range conns {
		select {
		case <-c.Lost():
		case <-ctx.Done():
		}
	}
	t.cancel(ErrClosed)
	t.half.closeAll()
	t.tasks.Wait()
}

// begin counts something that Close waits for.
func (t *Tub) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.tasks.Add(1)
	return true
}

// attachLocked makes c the connection with its peer.
func (t *Tub) attachLocked(c *Conn) {
	if len(t.conns) >= t.limits.Peers {
		t.makeRoomLocked()
	}
	t.conns[c.peer] = c
	close(t.changed)
	t.changed = make(chan struct{})
}

// makeRoomLocked ends the inbound connection that was silent longest.
func (t *Tub) makeRoomLocked() {
	var silent *Conn
	for _, c := range t.conns {
		if c.info.Inbound && (silent == nil || c.LastHeard().Before(silent.LastHeard())) {
			silent = c
		}
	}
	if silent != nil {
		t.detachLocked(silent, errCrowded)
	}
}

// liveLocked returns the connection with a peer, unless it has ended and is
// only not forgotten yet.
func (t *Tub) liveLocked(peer string) *Conn {
	if c := t.conns[peer]; c != nil && c.ctx.Err() == nil {
		return c
	}
	return nil
}

// detachLocked ends c, for another to take its place.
func (t *Tub) detachLocked(c *Conn, why error) {
	delete(t.conns, c.peer)
	c.cancel(lost(why))
}

// detach forgets c.
func (t *Tub) detach(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns[c.peer] == c {
		delete(t.conns, c.peer)
	}
}
