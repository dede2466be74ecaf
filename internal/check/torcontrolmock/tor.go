package torcontrolmock

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
)

// Config says what the tor is like. The zero value, with a Host, is a tor that
// has bootstrapped, listens at 127.0.0.1:9050 and 9051 and wants no
// authentication.
type Config struct {
	Host    netx.Network // the machine: a *Host, or netx.Loopback for a tor that other processes use
	Control []netx.Addr
	SOCKS   []netx.Addr
	Net     *Net // where its onion services are known; nil: a net of its own

	Methods    []string // NULL, COOKIE, SAFECOOKIE, HASHEDPASSWORD
	Password   string
	CookieFile string // written at start, 32 bytes
	BadCookie  bool   // tor's own cookie differs from the file's

	// Refuse gives the reply for every command that contains the key as its
	// verb, a word, or the beginning of one up to "=", as a filter before tor
	// or an older tor would.
	Refuse map[string]string
	// Bootstrap is the progress at start in per cent; 0 means 100.
	Bootstrap int
	// HSDirs is how many directories a descriptor is uploaded to; 0 means 8.
	HSDirs int
	// FailUploads is how many of them refuse.
	FailUploads int
	// UploadTime passes between ADD_ONION and UPLOADED; 0 means one second.
	UploadTime time.Duration
	// NoUnix: tor runs in a sandbox and reaches no unix socket of ours.
	NoUnix bool
	// Disk, Torrc (KEY=VALUE) and Conf are for hidden services in folders:
	// where those lie, the settings that the tor starts with, and what GETCONF
	// says of other keys.
	Disk  *Disk
	Torrc []string
	Conf  map[string]string
	UID   int // of the tor

	// SOCKSReply, when set, may answer a request before anything else does.
	SOCKSReply func(host, user string) (code byte, refuse bool)
}

// Service is an onion service that the tor publishes.
type Service struct {
	ID, Key, Target string
	Port            int
	Ports           map[int]string // targets, of a service in a folder
	Words           []string       // of the command, without the key
	Uploaded        bool
}

// Net is what several tors share: the onion services that can be reached.
type Net struct {
	mu       sync.Mutex // guards below
	services map[string]*published
}

type published struct {
	Service
	tor *Tor
}

// NewNet returns a net without onion services.
func NewNet() *Net { return &Net{services: map[string]*published{}} }

// Tor is one tor process: Start makes it, Stop kills it.
type Tor struct {
	cfg    Config
	cookie []byte
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex // guards below
	open     map[net.Conn]bool
	sessions map[*session]bool
	hung     bool
	phase    string
	progress int
	collide  int
	commands []string
	streams  []Stream
	hidden   []string // KEY=VALUE
}

// Stream is a request that came to the SOCKS port.
type Stream struct {
	User, Password, Host string
	Port                 int
}

// Start runs a tor. It fails if its addresses are taken.
func Start(cfg Config) (*Tor, error) {
	if cfg.Control == nil {
		cfg.Control = []netx.Addr{{Kind: netx.TCP, Host: "127.0.0.1", Port: 9051}}
	}
	if cfg.SOCKS == nil {
		cfg.SOCKS = []netx.Addr{{Kind: netx.TCP, Host: "127.0.0.1", Port: 9050}}
	}
	if cfg.Methods == nil {
		cfg.Methods = []string{"NULL"}
	}
	if cfg.Net == nil {
		cfg.Net = NewNet()
	}
	if cfg.Disk == nil {
		cfg.Disk = &Disk{}
	}
	cfg.HSDirs = orDefault(cfg.HSDirs, 8)
	cfg.Bootstrap = orDefault(cfg.Bootstrap, 100)
	cfg.UploadTime = orDefault(cfg.UploadTime, time.Second)
	t := &Tor{cfg: cfg, open: map[net.Conn]bool{}, sessions: map[*session]bool{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.setPhase(cfg.Bootstrap, "done", "Done")
	if err := t.makeCookie(); err != nil {
		return nil, err
	}
	t.setHidden(cfg.Torrc)
	for _, a := range cfg.Control {
		if err := t.serve(a, t.serveControl); err != nil {
			t.Stop()
			return nil, err
		}
	}
	for _, a := range cfg.SOCKS {
		if err := t.serve(a, t.serveSOCKS); err != nil {
			t.Stop()
			return nil, err
		}
	}
	return t, nil
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func (t *Tor) makeCookie() error {
	t.cookie = []byte("cookie of thirty-two bytes 45678")
	if t.cfg.CookieFile == "" {
		return nil
	}
	err := os.WriteFile(t.cfg.CookieFile, t.cookie, 0o600)
	if t.cfg.BadCookie {
		t.cookie = []byte("another cookie of 32 bytes 45678")
	}
	return err
}

// serve accepts at a until the tor stops.
func (t *Tor) serve(a netx.Addr, handle func(net.Conn)) error {
	l, err := t.cfg.Host.Listen(t.ctx, a)
	if err != nil {
		return err
	}
	context.AfterFunc(t.ctx, func() { l.Close() })
	t.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !t.track(c) {
				continue
			}
			t.wg.Go(func() {
				defer t.untrack(c)
				handle(c)
			})
		}
	})
	return nil
}

func (t *Tor) track(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		c.Close()
		return false
	}
	t.open[c] = true
	return true
}

func (t *Tor) untrack(c net.Conn) {
	c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
}

// Stop kills the tor: connections break, services vanish, ports are free when
// it returns.
func (t *Tor) Stop() {
	t.cancel()
	t.mu.Lock()
	open := t.open
	t.open = nil
	t.mu.Unlock()
	for c := range open {
		c.Close()
	}
	t.wg.Wait()
	for _, a := range slices.Concat(t.cfg.Control, t.cfg.SOCKS) { // AfterFunc may lag
		if h, ok := t.cfg.Host.(*Host); ok {
			h.forget(a)
		}
	}
}

// forget closes the listener at a, if there is one.
func (h *Host) forget(a netx.Addr) {
	h.mu.Lock()
	l := h.listeners[a.String()]
	h.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

// CutControl breaks every control connection and leaves the rest alone.
func (t *Tor) CutControl() {
	for s := range t.snapshot() {
		s.conn.Close()
	}
}

// Hang makes control connections, old and new, silent: they stay open and
// answer nothing, until Hang(false).
func (t *Tor) Hang(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hung = on
}

// Collide answers the next n ADD_ONION commands with 550.
func (t *Tor) Collide(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.collide = n
}

// Bootstrap sets the progress and reports it as an event.
func (t *Tor) Bootstrap(percent int, tag, summary string) {
	phase := t.setPhase(percent, tag, summary)
	t.Emit("STATUS_CLIENT", phase)
	if percent == 100 {
		t.Emit("STATUS_CLIENT", "NOTICE CIRCUIT_ESTABLISHED")
	}
}

func (t *Tor) setPhase(percent int, tag, summary string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress = percent
	t.phase = fmt.Sprintf("NOTICE BOOTSTRAP PROGRESS=%d TAG=%s SUMMARY=\"%s\"", percent, tag, summary)
	return t.phase
}

// Emit sends an event to every control connection that asked for its kind.
func (t *Tor) Emit(kind, text string) {
	for s := range t.snapshot() {
		s.emit(kind, text)
	}
}

// emitLines sends an event of several lines.
func (t *Tor) emitLines(kind string, lines []string) {
	for s := range t.snapshot() {
		s.mu.Lock()
		wanted := s.events[kind]
		s.mu.Unlock()
		if wanted {
			all := []string{"650-" + kind}
			for _, l := range lines {
				all = append(all, "650-"+l)
			}
			s.say(append(all, "650 OK")...)
		}
	}
}

func (t *Tor) snapshot() map[*session]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[*session]bool{}
	for s := range t.sessions {
		all[s] = true
	}
	return all
}

// Services returns what the tor publishes now.
func (t *Tor) Services() []Service {
	t.cfg.Net.mu.Lock()
	defer t.cfg.Net.mu.Unlock()
	var out []Service
	for _, p := range t.cfg.Net.services {
		if p.tor == t {
			out = append(out, p.Service)
		}
	}
	slices.SortFunc(out, func(a, b Service) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Commands returns the control commands received, in order.
func (t *Tor) Commands() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.commands)
}

// Streams returns the SOCKS requests received, in order.
func (t *Tor) Streams() []Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.streams)
}
