package tor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
	"tahoe-go/internal/network/tor/onion"
)

// OnionConfig describes an onion service.
type OnionConfig struct {
	Key  onion.Key
	Port int // at the onion address, 1 to 65535
	// LocalPort is the port on 127.0.0.1 where tor delivers; 0 picks one. Not
	// used where tor delivers to a unix socket.
	LocalPort int
	// Socket is the absolute path of a unix socket where tor may deliver
	// instead. A tor that we launched has one of its own without being asked.
	// A tor that runs already may be shut out of it by a sandbox, and takes the
	// service on all the same: so it delivers to the port until a connection
	// through Tor has proven that it reaches the socket.
	Socket string
	// ClientAuth holds base32 x25519 public keys of the only clients that may
	// connect; empty: anyone who knows the address.
	ClientAuth []string
	// MaxStreams bounds the streams of one circuit; 0: tor's default. It and
	// ProofOfWork, tor's defence against floods, are left out for a tor that
	// does not know them.
	MaxStreams  int
	ProofOfWork bool
}

// ListenOnion publishes an onion service and returns the listener that its
// connections come to. The service is published whenever tor is there, again
// each time tor comes back, until the listener is closed; that the listener is
// returned says nothing of whether anyone can reach it yet: Status does. ctx
// bounds only the call.
func (t *Tor) ListenOnion(ctx context.Context, cfg OnionConfig) (net.Listener, error) {
	if cfg.Key.IsZero() || cfg.Port < 1 || cfg.Port > 65535 {
		return nil, errors.New("an onion service needs a key and a port between 1 and 65535")
	}
	s := &service{tor: t, cfg: cfg, addr: cfg.Key.Address(), conns: make(chan net.Conn), done: make(chan struct{})}
	if err := s.bind(ctx); err != nil {
		return nil, fmt.Errorf("listening for the onion service: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		s.stop()
		return nil, net.ErrClosed
	}
	for _, other := range t.services {
		if other.addr == s.addr {
			s.stop()
			return nil, fmt.Errorf("this node serves the onion address %s already", s.addr)
		}
	}
	t.services = append(t.services, s)
	t.board.update(func(l *Ladder) {
		l.needsOnion = true
		l.Services = append(l.Services, ServiceStatus{Address: s.addr, Port: cfg.Port, Target: s.target()})
	})
	signal(t.added)
	signal(t.kick)
	return s, nil
}

// service is an onion service and the listener of its connections.
type service struct {
	tor  *Tor
	cfg  OnionConfig
	addr onion.Address

	conns chan net.Conn
	done  chan struct{} // closed by stop
	once  sync.Once
	wg    sync.WaitGroup // of the accept loops
	live  bool           // tor has it; owned by the keeper of the day

	mu      sync.Mutex // guards below
	port    netx.Addr  // bound; zero when tor delivers to the socket only
	socket  netx.Addr  // bound; zero when there is none
	proven  bool       // tor reaches the socket
	inner   map[netx.Addr]net.Listener
	desc    descriptors
	uploads chan struct{} // closed at the first UPLOADED after it was added
}

var _ net.Listener = (*service)(nil)

// bind opens what tor is to deliver to.
func (s *service) bind(ctx context.Context) error {
	s.inner = map[netx.Addr]net.Listener{}
	if s.tor.runDir != nil && s.tor.runDir.unix {
		s.proven = true
		return s.listen(ctx, netx.Addr{Kind: netx.Unix, Host: s.tor.runDir.onion(s.addr, s.cfg.Port)})
	}
	err := s.listen(ctx, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: s.cfg.LocalPort})
	if err == nil && s.cfg.Socket != "" {
		if err = s.listen(ctx, netx.Addr{Kind: netx.Unix, Host: s.cfg.Socket}); err != nil {
			s.stop()
		}
	}
	return err
}

func (s *service) listen(ctx context.Context, a netx.Addr) error {
	l, err := s.tor.cfg.Local.Listen(ctx, a)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Kind == netx.Unix {
		s.socket = a
	} else {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			a.Port = tcp.Port
		}
		s.port = a
	}
	s.inner[a] = l
	s.wg.Go(func() { s.accept(l) })
	return nil
}

// accept moves connections from one inner listener to Accept.
func (s *service) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of descriptors, most likely
			case <-time.After(100 * time.Millisecond):
				continue
			case <-s.done:
				return
			}
		}
		select {
		case s.conns <- c:
		case <-s.done:
			c.Close()
			return
		}
	}
}

// Accept waits for the next connection from Tor. The other end's address is
// not known to anyone here.
func (s *service) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Addr returns the onion address and port.
func (s *service) Addr() net.Addr { return onionAddr(hostPort(s.addr.String(), s.cfg.Port)) }

type onionAddr string

func (onionAddr) Network() string  { return "tor" }
func (a onionAddr) String() string { return string(a) }

// Close stops listening and has the supervisor take the service down.
func (s *service) Close() error {
	s.stop()
	t := s.tor
	t.mu.Lock()
	t.services = slices.DeleteFunc(t.services, func(o *service) bool { return o == s })
	t.mu.Unlock()
	t.board.update(func(l *Ladder) {
		l.Services = slices.DeleteFunc(l.Services, func(st ServiceStatus) bool { return st.Address == s.addr })
	})
	return nil
}

// stop closes the listeners and waits for the accept loops.
func (s *service) stop() {
	s.once.Do(func() { close(s.done) })
	s.mu.Lock()
	for _, l := range s.inner {
		l.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// target returns where tor is to deliver, as ADD_ONION writes it.
func (s *service) target() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proven {
		return "unix:" + s.socket.Host
	}
	return hostPort(s.port.Host, s.port.Port)
}

// unproven reports whether there is a socket of which it is not known whether
// tor reaches it.
func (s *service) unproven() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.proven && s.socket != (netx.Addr{})
}

// extras returns the optional words in the order in which they are given up:
// all, each alone, none.
func (s *service) extras() [][]string {
	var all []string
	if s.cfg.ProofOfWork {
		all = append(all, "PoWDefensesEnabled=1")
	}
	if s.cfg.MaxStreams > 0 {
		all = append(all, "MaxStreams="+strconv.Itoa(s.cfg.MaxStreams))
	}
	if len(all) < 2 {
		return [][]string{all, nil}
	}
	return [][]string{all, all[1:], all[:1], nil}
}

// expect starts to count uploads anew; the channel is closed at the first.
func (s *service) expect() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desc = descriptors{}
	s.uploads = make(chan struct{})
	return s.uploads
}

// onDescriptor takes an HS_DESC event for this service.
func (s *service) onDescriptor(e control.Event) {
	s.mu.Lock()
	s.desc.event(e, time.Now())
	uploaded, asked := s.desc.count()
	if uploaded > 0 && s.uploads != nil {
		close(s.uploads)
		s.uploads = nil
	}
	s.mu.Unlock()
	s.status(func(st *ServiceStatus) { st.Uploaded, st.Asked = uploaded, asked })
}

func (s *service) status(f func(st *ServiceStatus)) { s.tor.board.service(s.addr, s.cfg.Port, f) }

// descriptors counts the directories of one service.
type descriptors struct {
	at map[string]upload // by directory
}

type upload struct {
	when time.Time
	ok   bool
}

// Tor uploads descriptors again within two hours; a directory not heard of for
// longer is none of the service's any more.
const (
	descriptorLife  = 3 * time.Hour
	directoriesMost = 256
)

// event takes "UPLOAD address auth directory …", "UPLOADED …" or "FAILED …".
func (d *descriptors) event(e control.Event, now time.Time) {
	if len(e.Words) < 4 {
		return
	}
	name, _, _ := strings.Cut(e.Words[3], "~")
	for at, u := range d.at {
		if now.Sub(u.when) > descriptorLife {
			delete(d.at, at)
		}
	}
	if d.at == nil {
		d.at = map[string]upload{}
	}
	if _, known := d.at[name]; !known && len(d.at) >= directoriesMost {
		return
	}
	switch e.Words[0] {
	case "UPLOAD":
		d.at[name] = upload{now, d.at[name].ok}
	case "UPLOADED":
		d.at[name] = upload{now, true}
	case "FAILED":
		if e.Words[2] == "UNKNOWN" { // else a download: somebody here dials the service
			d.at[name] = upload{now, false}
		}
	}
}

func (d *descriptors) count() (uploaded, asked int) {
	for _, u := range d.at {
		if u.ok {
			uploaded++
		}
	}
	return uploaded, len(d.at)
}
