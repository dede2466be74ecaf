package tor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
	"tahoe-go/internal/network/tor/onion"
)

// DirConfig describes an onion service whose key tor keeps in a folder of its
// own, tor's HiddenServiceDir.
type DirConfig struct {
	Dir  string // absolute, as tor sees it
	Port int    // at the onion address, 1 to 65535
	// LocalPort is the port on 127.0.0.1 where tor shall deliver if it does not
	// have the service yet; 0: the one of last time, or a free one. A service
	// that tor has already is taken as it is.
	LocalPort int
	// Bound is where this node listens anyway: a service that leads there gets
	// no listener of its own.
	Bound []netx.Addr
	// Memory is the file that keeps what was learned of such services, so that
	// it is known at the next start before tor is there. Empty: none.
	Memory string
	// Prove connects to at through Tor and returns nil if this very node
	// answers. Tor does not say which of its addresses belongs to which folder,
	// and a folder of another user cannot be read, so each address that tor
	// publishes is asked in this way until one is ours. ErrStranger means that
	// somebody else answered, any other error that nothing is known yet.
	Prove func(ctx context.Context, at netx.Addr) error
}

// ErrStranger is for DirConfig.Prove: another than this node answered.
var ErrStranger = errors.New("another node answers there")

// ListenHiddenDir sets up an onion service in a folder of tor's, or joins the
// one that tor has there, and returns the listener that its connections come
// to. Like ListenOnion it does not wait for tor; whether the service stands, and
// its address once that is known, Status says. The service stays with tor when
// the listener is closed: others may have changed tor's settings since.
//
// A tor that cannot make the folder exits, for everyone who uses it, so tor is
// asked to only where it is sure to be able to; for other places Status says
// what to write into torrc.
func (t *Tor) ListenHiddenDir(cfg DirConfig) (net.Listener, error) {
	if !filepath.IsAbs(cfg.Dir) || cfg.Port < 1 || cfg.Port > 65535 || cfg.Prove == nil {
		return nil, errors.New("an onion service needs the absolute path of a folder, a port between 1 and 65535, and a way to prove itself")
	}
	cfg.Dir = filepath.Clean(cfg.Dir)
	d := &hiddenDir{tor: t, cfg: cfg, inbox: newInbox(), recheck: make(chan struct{}, 1), heard: make(chan struct{}, 1), seen: map[string]*descriptors{}}
	d.memory = recall(cfg.Memory, cfg.Dir)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, net.ErrClosed
	}
	for _, other := range t.dirs {
		if other.cfg.Dir == cfg.Dir {
			return nil, fmt.Errorf("this node uses the hidden service folder %s already", cfg.Dir)
		}
	}
	t.dirs = append(t.dirs, d)
	t.board.update(func(l *Ladder) {
		l.needsOnion = true
		l.Services = append(l.Services, ServiceStatus{Address: d.memory.addr, Port: cfg.Port, Dir: cfg.Dir, key: d.key()})
	})
	signal(t.added)
	signal(t.kick)
	return d, nil
}

// hiddenDir is an onion service in a folder of tor's, and the listener of its
// connections.
type hiddenDir struct {
	tor *Tor
	cfg DirConfig
	*inbox

	recheck chan struct{} // tor's settings may have changed; holds one
	heard   chan struct{} // tor has published something; holds one

	mu     sync.Mutex // guards below
	memory memory
	target netx.Addr               // where tor delivers, and we listen; zero: nowhere
	stands bool                    // tor has the service
	quiet  time.Time               // when tor's silence begins to say that it has published
	seen   map[string]*descriptors // of addresses that may be this one, by service id
}

var _ net.Listener = (*hiddenDir)(nil)

const (
	// seenMost bounds the addresses that are remembered as perhaps this one.
	seenMost = 256
	// joinedSilence is how long tor must not upload a descriptor of a service
	// that it had before, to be taken to have done so earlier, and newSilence
	// the same for a new one: a filter before tor may keep the events from us.
	joinedSilence = 20 * time.Second
	newSilence    = 3 * time.Minute
)

// Addr returns the onion address and port; the folder and port while the
// address is not known.
func (d *hiddenDir) Addr() net.Addr {
	if a := d.address(); a != "" {
		return onionAddr(hostPort(a.String(), d.cfg.Port))
	}
	return onionAddr(hostPort(d.cfg.Dir, d.cfg.Port))
}

// Close stops listening. Tor keeps the service.
func (d *hiddenDir) Close() error {
	d.stop()
	t := d.tor
	t.mu.Lock()
	t.dirs = slices.DeleteFunc(t.dirs, func(o *hiddenDir) bool { return o == d })
	t.mu.Unlock()
	t.board.update(func(l *Ladder) {
		l.Services = slices.DeleteFunc(l.Services, func(st ServiceStatus) bool { return st.key == d.key() })
	})
	return nil
}

func (d *hiddenDir) key() string { return "dir " + d.cfg.Dir }

func (d *hiddenDir) status(f func(st *ServiceStatus)) { d.tor.board.service(d.key(), f) }

func (d *hiddenDir) address() onion.Address {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.memory.addr
}

// standing notes whether tor has the service.
func (d *hiddenDir) standing(yes bool) {
	d.mu.Lock()
	news := yes && !d.stands
	d.stands = yes
	d.mu.Unlock()
	if news {
		signal(d.heard)
	}
}

func (d *hiddenDir) isStanding() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stands
}

// quietIn says how long tor is to be silent before that says something.
func (d *hiddenDir) quietIn(long time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quiet = time.Now().Add(long)
}

// untilQuiet is wait, or less if tor's silence begins to say something sooner.
func (d *hiddenDir) untilQuiet(wait time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if left := time.Until(d.quiet); left > 0 {
		wait = min(wait, left)
	}
	return wait
}

// socket is where a tor of our own delivers.
func (d *hiddenDir) socket() netx.Addr {
	sum := sha256.Sum256([]byte(d.cfg.Dir))
	return netx.Addr{Kind: netx.Unix, Host: d.tor.runDir.onion(onion.Address(hex.EncodeToString(sum[:8])), d.cfg.Port)}
}

// listenAt makes target a place where connections arrive, and the only one.
func (d *hiddenDir) listenAt(ctx context.Context, target netx.Addr) error {
	d.mu.Lock()
	was := d.target
	d.target = netx.Addr{}
	d.mu.Unlock()
	if was != target {
		d.shut(was)
	}
	if !d.has(target) && !slices.ContainsFunc(d.cfg.Bound, func(b netx.Addr) bool { return leadsTo(target, b) }) {
		if target.Kind == netx.Unix && d.tor.runDir == nil {
			return fmt.Errorf("tor delivers connections for %s to %s: have the node listen there (tub.port = %s:mode=660), in a folder that tor can enter", d.cfg.Dir, target, target)
		}
		if _, err := d.open(ctx, d.tor.cfg.Local, target); err != nil {
			return fmt.Errorf("tor delivers connections for %s to %s, where this node cannot listen (another program may, or this one is locked down and has to be started again): %w", d.cfg.Dir, target, err)
		}
	}
	d.mu.Lock()
	d.target = target
	d.mu.Unlock()
	d.status(func(st *ServiceStatus) { st.Target = target.String() })
	return nil
}

// leadsTo reports whether a connection to target reaches a listener at bound.
func leadsTo(target, bound netx.Addr) bool {
	if target.Kind != netx.TCP || bound.Kind != netx.TCP {
		return target.Kind == bound.Kind && target.Host == bound.Host
	}
	all := bound.Host == "0.0.0.0" && target.Host != "::1" || bound.Host == "::" && target.Host == "::1"
	return target.Port == bound.Port && (all || target.Host == bound.Host)
}

// choose picks where tor shall deliver, and listens there.
func (d *hiddenDir) choose(ctx context.Context) (netx.Addr, error) {
	if r := d.tor.runDir; r != nil && r.unix {
		return d.socket(), d.listenAt(ctx, d.socket())
	}
	d.mu.Lock()
	kept := d.memory.port
	d.mu.Unlock()
	at := netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: d.cfg.LocalPort}
	if at.Port == 0 && kept != 0 {
		at.Port = kept
		if d.listenAt(ctx, at) == nil {
			return at, nil
		}
		at.Port = 0 // taken since
	}
	if at.Port == 0 {
		var err error
		if at, err = d.open(ctx, d.tor.cfg.Local, at); err != nil {
			return at, fmt.Errorf("listening for the onion service: %w", err)
		}
	}
	if err := d.listenAt(ctx, at); err != nil {
		return at, err
	}
	d.learn(func(m *memory) { m.port = at.Port })
	return at, nil
}

// learn keeps something for the next start.
func (d *hiddenDir) learn(f func(m *memory)) {
	d.tor.memory.Lock() // one file for all folders
	defer d.tor.memory.Unlock()
	d.mu.Lock()
	was := d.memory
	f(&d.memory)
	m := d.memory
	d.mu.Unlock()
	if m == was {
		return
	}
	if err := remember(d.cfg.Memory, m); err != nil {
		d.tor.log.Warn("what was learned of an onion service is not kept", "err", err)
	}
}

// onDescriptor takes an HS_DESC event for an address that may be ours.
func (d *hiddenDir) onDescriptor(e control.Event) {
	if len(e.Words) < 3 || e.Words[2] != "UNKNOWN" { // else somebody here dials that address
		return
	}
	id := e.Words[1]
	if _, err := onion.ParseAddress(id + ".onion"); err != nil {
		return
	}
	d.mu.Lock()
	desc := d.seen[id]
	if desc == nil && len(d.seen) < seenMost {
		desc = &descriptors{}
		d.seen[id] = desc
	}
	var before, uploaded, asked int
	if desc != nil {
		before, _ = desc.count()
		desc.event(e, time.Now())
		uploaded, asked = desc.count()
	}
	ours := d.memory.addr.ServiceID() == id
	d.mu.Unlock()
	if ours {
		d.status(func(st *ServiceStatus) { st.Uploaded, st.Asked = uploaded, asked })
	}
	if before == 0 && uploaded > 0 {
		signal(d.heard)
	}
}

// notice takes an address that tor serves, from another source than events.
func (d *hiddenDir) notice(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[id] == nil && len(d.seen) < seenMost {
		d.seen[id] = &descriptors{}
	}
}

// candidates are the addresses that may be ours and can be tried: the one we
// believe in first, the others only if there is none, or tor was not seen to
// serve it.
func (d *hiddenDir) candidates() []onion.Address {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []onion.Address
	ours := d.memory.addr
	if ours != "" && d.published(ours.ServiceID()) {
		all = append(all, ours)
	}
	if ours != "" && (len(d.seen) == 0 || d.seen[ours.ServiceID()] != nil) {
		return all
	}
	for _, id := range slices.Sorted(maps.Keys(d.seen)) {
		if a := onion.Address(id + ".onion"); a != ours && d.published(id) {
			all = append(all, a)
		}
	}
	return all
}

// published reports whether a connection can be tried. Tor looks for a
// descriptor once, and then for a quarter of an hour not again, so before it is
// published that would do harm. Of a service that tor had before we came, there
// is no event; silence tells. The caller holds d.mu.
func (d *hiddenDir) published(id string) bool {
	uploaded, asked := 0, 0
	if desc := d.seen[id]; desc != nil {
		uploaded, asked = desc.count()
	}
	return uploaded > 0 || asked == 0 && !d.quiet.IsZero() && !time.Now().Before(d.quiet)
}

// known takes an address that is ours for certain.
func (d *hiddenDir) known(a onion.Address) {
	if d.address() != a {
		d.tor.log.Info("address of the onion service known", "address", a.String(), "dir", d.cfg.Dir)
	}
	d.learn(func(m *memory) { m.addr = a })
	d.mu.Lock()
	var uploaded, asked int
	if desc := d.seen[a.ServiceID()]; desc != nil {
		uploaded, asked = desc.count()
	}
	d.mu.Unlock()
	d.status(func(st *ServiceStatus) { st.Address, st.Uploaded, st.Asked = a, uploaded, asked })
}

// forget drops what tor said of its services.
func (d *hiddenDir) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.seen)
	d.quiet = time.Time{}
}
