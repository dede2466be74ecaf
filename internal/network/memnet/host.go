package memnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"tahoe-go/internal/network/netx"
)

// Fault is how a host misbehaves.
type Fault int

// The faults. None mends a host.
const (
	None   Fault = iota
	Refuse       // dials to it are refused, as if its program had ended; connections go on
	Hang         // it can be neither reached nor heard: dials hang, connections carry nothing
	Silent       // dials to it succeed and nobody answers: the program is stuck, its kernel is not
)

// Host is the network as one machine has it.
type Host struct {
	net      *Net
	name     string
	fault    Fault // guarded by net.mu
	nextPort int   // guarded by net.mu
}

var _ netx.Network = (*Host)(nil)

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Fail gives the host a fault, or takes it away.
func (h *Host) Fail(f Fault) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.fault = f
	h.net.wake()
}

// backlog is how many connections wait for Accept before dials wait.
const backlog = 128

var (
	errNetClosed = errors.New("memnet: the network is closed")
	errNoHost    = &net.DNSError{Err: "no such host", IsNotFound: true}
)

// Dial connects to a, in one round trip. Names that were never created nor
// listened at do not exist; 127.0.0.1, ::1 and localhost are this host.
func (h *Host) Dial(ctx context.Context, a netx.Addr) (net.Conn, error) {
	c, err := h.dial(ctx, a)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "memnet", Addr: endpoint(a), Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, a netx.Addr) (conn *Conn, err error) {
	n := h.net
	n.mu.Lock()
	n.dials = append(n.dials, Dial{From: h.name, To: a, At: time.Now()})
	dst := n.owner[normal(a.Host)]
	if a.Kind == netx.Unix || isSelf(a.Host) {
		dst = h
	}
	if dst == nil {
		n.mu.Unlock()
		return nil, errNoHost
	}
	l := n.link(h.name, dst.name)
	n.mu.Unlock()

	if err := h.reach(ctx, dst, l); err != nil {
		return nil, err
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, errNetClosed
	}
	srv := n.listeners[key(dst, a)]
	if dst.fault == Refuse || srv == nil || srv.loopback && dst != h {
		n.mu.Unlock()
		return nil, syscall.ECONNREFUSED
	}
	fault := dst.fault
	h.nextPort++
	from := netx.Addr{Kind: netx.TCP, Host: h.name, Port: h.nextPort}
	client, server := newWire(n, l, h, dst, endpoint(from), endpoint(a))
	n.mu.Unlock()

	if fault == Silent {
		server.wire.abandon(server.side)
		return client, nil
	}
	select {
	case srv.queue <- server:
		select {
		case <-srv.done: // it may have closed before, and drained the queue before
			srv.drain()
		default:
		}
		return client, nil
	case <-srv.done:
		err = syscall.ECONNREFUSED
	case <-ctx.Done():
		err = ctx.Err()
	}
	client.Close()
	server.Close()
	return nil, err
}

// reach takes a round trip, and however long dst is out of reach.
func (h *Host) reach(ctx context.Context, dst *Host, l *link) error {
	for {
		ok, changed := h.net.passable(h, dst, l)
		if ok {
			if err := sleep(ctx, 2*l.latency()); err != nil {
				return err
			}
			if ok, changed = h.net.passable(h, dst, l); ok {
				return nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func isSelf(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return normal(host) == "localhost"
}

// key is where a listener of h is found.
func key(h *Host, a netx.Addr) string {
	if a.Kind == netx.Unix {
		return "unix " + h.name + " " + a.Host
	}
	return h.name + " " + strconv.Itoa(a.Port)
}

// Listen accepts connections at a: at any new name, which becomes another name
// of this host; at every name of it ("", 0.0.0.0 and :: too, a port is one
// port); or, at 127.0.0.1, ::1 or localhost, from this host only. Port 0 picks
// a free one.
func (h *Host) Listen(ctx context.Context, a netx.Addr) (net.Listener, error) {
	l, err := h.listen(ctx, a)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "memnet", Addr: endpoint(a), Err: err}
	}
	return l, nil
}

func (h *Host) listen(ctx context.Context, a netx.Addr) (*listener, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errNetClosed
	}
	l := &listener{host: h, queue: make(chan *Conn, backlog), done: make(chan struct{})}
	switch {
	case a.Kind == netx.Unix:
	case isSelf(a.Host):
		l.loopback = true
	case a.Host == "", a.Host == "0.0.0.0", a.Host == "::":
		a.Host = h.name
	case n.owner[normal(a.Host)] == nil:
		n.owner[normal(a.Host)] = h
	case n.owner[normal(a.Host)] != h:
		return nil, syscall.EADDRNOTAVAIL
	}
	for a.Port == 0 && a.Kind != netx.Unix {
		h.nextPort++
		if free := (netx.Addr{Port: h.nextPort}); n.listeners[key(h, free)] == nil {
			a.Port = h.nextPort
		}
	}
	l.addr, l.key = a, key(h, a)
	if n.listeners[l.key] != nil {
		return nil, syscall.EADDRINUSE
	}
	n.listeners[l.key] = l
	return l, nil
}

// listener implements net.Listener.
type listener struct {
	host     *Host
	addr     netx.Addr
	key      string
	loopback bool
	queue    chan *Conn
	done     chan struct{} // closed by Close
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done: // first, so that a closed listener never accepts
	default:
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.done:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "memnet", Addr: l.Addr(), Err: net.ErrClosed}
}

// Close resets the connections that were not accepted; the others go on.
func (l *listener) Close() error {
	n := l.host.net
	n.mu.Lock()
	if n.listeners[l.key] != l {
		n.mu.Unlock()
		return &net.OpError{Op: "close", Net: "memnet", Addr: l.Addr(), Err: net.ErrClosed}
	}
	delete(n.listeners, l.key)
	n.mu.Unlock()
	close(l.done)
	l.drain()
	return nil
}

func (l *listener) drain() {
	for {
		select {
		case c := <-l.queue:
			c.Abort()
		default:
			return
		}
	}
}

// Addr returns an Endpoint.
func (l *listener) Addr() net.Addr { return endpoint(l.addr) }

// Endpoint is the net.Addr of listeners and connections; its Netx method gives
// the address to dial.
type Endpoint struct{ addr netx.Addr }

func endpoint(a netx.Addr) Endpoint { return Endpoint{a} }

// Network returns "memnet".
func (Endpoint) Network() string { return "memnet" }

// String returns host:port, or the path of a unix socket.
func (e Endpoint) String() string {
	if e.addr.Kind == netx.Unix {
		return e.addr.Host
	}
	return net.JoinHostPort(e.addr.Host, strconv.Itoa(e.addr.Port))
}

// Netx returns the address to dial.
func (e Endpoint) Netx() netx.Addr { return e.addr }
