// Package torcontrolmock is a machine with a tor on it, in memory: a control
// port and a SOCKS port that behave as tor 0.4.9 was seen to behave, and that
// can be told to refuse, collide, hang, filter and restart. It runs inside a
// synctest bubble.
//
// It shares no code with the clients it tests and checks no cryptography of
// onion descriptors. Start with NewHost and Start.
package torcontrolmock

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"

	"tahoe-go/internal/network/netx"
)

// Host is the loopback and the unix sockets of one machine: a netx.Network.
type Host struct {
	mu        sync.Mutex // guards below
	listeners map[string]*listener
	denied    map[string]bool
	cut       map[string]Cut
	dials     []netx.Addr
	nextPort  int
}

var _ netx.Network = (*Host)(nil)

// NewHost returns a machine on which nobody listens.
func NewHost() *Host {
	return &Host{listeners: map[string]*listener{}, denied: map[string]bool{}, cut: map[string]Cut{}, nextPort: 40000}
}

// Cut is what becomes of new connections to an address.
type Cut int

// The ways to cut off an address.
const (
	Whole    Cut = iota // it is not
	Refused             // nobody listens there
	Filtered            // nothing comes back, ever
)

// Cut cuts off an address, or makes it whole again. Connections that stand are
// left alone.
func (h *Host) Cut(a netx.Addr, how Cut) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut[a.String()] = how
}

// Deny makes dialling a fail for want of permission.
func (h *Host) Deny(a netx.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.denied[a.String()] = true
}

// Dials returns every address that was dialled, in order.
func (h *Host) Dials() []netx.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]netx.Addr(nil), h.dials...)
}

// Dial connects to a listener of this machine.
func (h *Host) Dial(ctx context.Context, a netx.Addr) (net.Conn, error) {
	a.Isolation = ""
	h.mu.Lock()
	h.dials = append(h.dials, a)
	l, denied, cut := h.listeners[a.String()], h.denied[a.String()], h.cut[a.String()]
	h.mu.Unlock()
	switch {
	case cut == Filtered:
		<-ctx.Done()
		return nil, ctx.Err()
	case cut == Refused:
		return nil, dialError(a, syscall.ECONNREFUSED)
	case denied:
		return nil, dialError(a, syscall.EACCES)
	case l == nil && a.Kind == netx.Unix:
		return nil, dialError(a, syscall.ENOENT)
	case l == nil:
		return nil, dialError(a, syscall.ECONNREFUSED)
	}
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	client.Close()
	server.Close()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, dialError(a, syscall.ECONNREFUSED)
}

func dialError(a netx.Addr, errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: string(a.Kind), Addr: addr(a.String()), Err: os.NewSyscallError("connect", errno)}
}

// Listen binds an address of this machine; port 0 picks one.
func (h *Host) Listen(_ context.Context, a netx.Addr) (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Kind == netx.TCP && a.Port == 0 {
		h.nextPort++
		a.Port = h.nextPort
	}
	a.Isolation = ""
	if h.listeners[a.String()] != nil {
		return nil, fmt.Errorf("listening at %s: %w", a, fs.ErrExist)
	}
	l := &listener{host: h, at: a, conns: make(chan net.Conn), closed: make(chan struct{})}
	h.listeners[a.String()] = l
	return l, nil
}

type listener struct {
	host   *Host
	at     netx.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.host.mu.Lock()
		delete(l.host.listeners, l.at.String())
		l.host.mu.Unlock()
		close(l.closed)
	})
	return nil
}

func (l *listener) Addr() net.Addr {
	if l.at.Kind == netx.TCP {
		return &net.TCPAddr{IP: net.ParseIP(l.at.Host), Port: l.at.Port}
	}
	return &net.UnixAddr{Name: l.at.Host, Net: "unix"}
}

type addr string

func (a addr) Network() string { return "mock" }
func (a addr) String() string  { return string(a) }
