// Package memnet is a network in memory, for tests: named hosts that are each
// a netx.Network, joined by links with latency and bandwidth, that can refuse,
// hang, stay silent, lose sight of each other or cut connections. It remembers
// every dial. Inside a testing/synctest bubble a minute of it takes
// milliseconds and always goes the same way.
//
// It follows TCP as Linux shows it to a program (reset against end of file,
// bounded buffers, deadlines), not packet loss or congestion. Kinds TCP and Tor
// are alike to it: policy is the business of netx. Make the Net inside the
// bubble that uses it. Start with New, Net.Host and Link.
package memnet

import (
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
)

// Net is a set of hosts and the links between them. Its methods may be called
// concurrently.
type Net struct {
	mu        sync.Mutex // guards below; taken after wire.mu
	hosts     map[string]*Host
	owner     map[string]*Host // by every name listened at or created
	listeners map[string]*listener
	links     map[[2]string]*link
	def       Link
	dials     []Dial
	wires     map[*wire]struct{}
	changed   chan struct{} // closed and replaced when a fault comes or goes
	closed    bool
}

// New returns an empty network. t is closed over to call Close at its end, so
// that nothing hangs on when a bubble wants to finish; it is a testing.TB, or
// nil when the caller calls Close.
func New(t interface{ Cleanup(func()) }) *Net {
	n := &Net{
		hosts:     map[string]*Host{},
		owner:     map[string]*Host{},
		listeners: map[string]*listener{},
		links:     map[[2]string]*link{},
		wires:     map[*wire]struct{}{},
		changed:   make(chan struct{}),
	}
	if t != nil {
		t.Cleanup(n.Close)
	}
	return n
}

// Host returns the host of that name, new if there was none. A name is what
// others dial: alice, 192.0.2.1, xyz.onion.
func (n *Net) Host(name string) *Host {
	name = normal(name)
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil {
		h = &Host{net: n, name: name, nextPort: 49152}
		n.hosts[name] = h
		n.owner[name] = h
	}
	return h
}

func normal(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// Close ends every connection, listener and pending dial, on both sides, and
// makes later ones fail.
func (n *Net) Close() {
	n.mu.Lock()
	n.closed = true
	n.wake()
	var ls []*listener
	for _, l := range n.listeners {
		ls = append(ls, l)
	}
	n.mu.Unlock()
	for _, l := range ls {
		l.Close()
	}
	for _, w := range n.between(func(*wire) bool { return true }) {
		w.kill()
	}
}

// wake needs n.mu.
func (n *Net) wake() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// Dial is one attempt to connect.
type Dial struct {
	From string // host name
	To   netx.Addr
	At   time.Time // when it began
}

// Dials returns every attempt so far, successful or not, oldest first.
func (n *Net) Dials() []Dial {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Dial(nil), n.dials...)
}

// Open returns how many ends of connections have not been closed by the
// program that holds them; a connection nobody accepted counts once.
func (n *Net) Open() int {
	open := 0
	for _, w := range n.between(func(*wire) bool { return true }) {
		open += w.open()
	}
	return open
}

// between returns the live connections that keep approves of.
func (n *Net) between(keep func(*wire) bool) []*wire {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ws []*wire
	for w := range n.wires {
		if keep(w) {
			ws = append(ws, w)
		}
	}
	return ws
}
