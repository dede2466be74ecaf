package tor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
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
	s := &service{tor: t, cfg: cfg, addr: cfg.Key.Address(), inbox: newInbox()}
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
		l.Services = append(l.Services, ServiceStatus{Address: s.addr, Port: cfg.Port, Target: s.target(), key: s.key()})
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
	*inbox

	live bool // tor has it; owned by the keeper of the day

	mu      sync.Mutex // guards below
	port    netx.Addr  // bound; zero when tor delivers to the socket only
	socket  netx.Addr  // bound; zero when there is none
	proven  bool       // tor reaches the socket
	desc    descriptors
	uploads chan struct{} // closed at the first UPLOADED after it was added
}

var _ net.Listener = (*service)(nil)

// bind opens what tor is to deliver to.
func (s *service) bind(ctx context.Context) error {
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
	a, err := s.open(ctx, s.tor.cfg.Local, a)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Kind == netx.Unix {
		s.socket = a
	} else {
		s.port = a
	}
	return nil
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
		l.Services = slices.DeleteFunc(l.Services, func(st ServiceStatus) bool { return st.key == s.key() })
	})
	return nil
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

func (s *service) key() string { return "key " + s.addr.String() }

func (s *service) status(f func(st *ServiceStatus)) { s.tor.board.service(s.key(), f) }
