package tor

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/onion"
)

// Ladder is how far Tor is, at one moment. Rungs puts it into words.
type Ladder struct {
	At time.Time // when this picture was taken

	SOCKS    netx.Addr // where Tor's SOCKS port was found; zero: not found
	Control  netx.Addr // where we are authenticated; zero: nowhere
	Launched bool      // we run this tor
	Version  string    // empty: unknown
	// Problem is what stands in the way at present, with its cure, in words
	// for the operator; empty when nothing does.
	Problem    string
	Bootstrap  Bootstrap
	ClockSkew  time.Duration // our clock is ahead (positive) or behind, by tor's estimate; 0: not reported
	Connects   int           // how often a control connection was set up
	Services   []ServiceStatus
	TorSays    []string // the last warnings of a tor that we launched, oldest first
	attempts   int      // how often we have looked for Tor
	needsOnion bool
}

// Bootstrap is tor's own progress in connecting to its network.
type Bootstrap struct {
	Known   bool // false without a control connection
	Percent int
	Summary string    // tor's words: "Asking for relay descriptors"
	Warning string    // tor's words for what is wrong, or empty
	Since   time.Time // of the last progress
	// NoCircuits: tor says that it can build none, which after 100 per cent
	// means that the network has gone.
	NoCircuits bool
}

// ServiceStatus is how far an onion service is.
type ServiceStatus struct {
	Address  onion.Address // empty: tor has not shown it yet; only with Dir
	Port     int
	Dir      string // tor's folder with the key; empty: the key is ours
	Target   string // where tor delivers; empty: not known yet
	Added    bool   // tor has taken it on
	Uploaded int    // directories that have its descriptor
	Asked    int    // directories that tor has sent it to
	// Reached is when a connection from outside, through Tor itself, last
	// succeeded; zero: not since it was added.
	Reached time.Time
	Problem string // with its cure; empty when there is none

	key         string // which service this is
	slowAddress bool   // tor has not shown the address for a while
}

// stuckAfter is how long a bootstrap without progress is taken for slow rather
// than stuck.
const stuckAfter = time.Minute

// State is how a rung stands.
type State string

// The states of a rung.
const (
	OK      State = "ok"
	Waiting State = "waiting" // it comes by itself
	Failed  State = "failed"  // a person may have to do something
	Unknown State = "unknown" // there is no way to tell
)

// Rung is one step of the ladder, for people and for programs.
type Rung struct {
	Name  string `json:"name"` // stable: "found", "control", "bootstrapped", "published", "reached"
	State State  `json:"state"`
	Text  string `json:"text"`
}

// Rungs describes the ladder from the ground up. The last two exist only for
// nodes with onion services, once for each.
func (l Ladder) Rungs() []Rung {
	rungs := []Rung{l.foundRung(), l.controlRung(), l.bootstrapRung()}
	for _, s := range l.Services {
		rungs = append(rungs, s.publishedRung(), s.reachedRung())
	}
	return rungs
}

// Ready reports whether connections through Tor can be expected to work.
func (l Ladder) Ready() bool {
	b := l.Bootstrap
	return l.SOCKS != netx.Addr{} && (!b.Known || b.Percent == 100 && !b.NoCircuits)
}

func (l Ladder) foundRung() Rung {
	r := Rung{Name: "found", State: OK}
	switch {
	case l.SOCKS != netx.Addr{}:
		r.Text = "Tor found at " + l.SOCKS.String()
		if l.Launched {
			r.Text = "Tor launched"
		}
	case l.Problem != "":
		r.State, r.Text = Failed, l.Problem
	default:
		r.State, r.Text = Waiting, "looking for Tor"
		if l.Launched {
			r.Text = "starting tor"
		}
	}
	return r
}

func (l Ladder) controlRung() Rung {
	r := Rung{Name: "control", State: OK}
	switch {
	case l.Control != netx.Addr{}:
		r.Text = "authenticated to tor " + l.Version + " at " + l.Control.String()
	case l.SOCKS == netx.Addr{}:
		r.State, r.Text = Waiting, "waiting for Tor"
	case !l.needsOnion:
		r.State, r.Text = Unknown, "no control port in use; connections need only SOCKS"
		if l.Problem != "" {
			r.Text += " (" + l.Problem + ")"
		}
	case l.Problem != "":
		r.State, r.Text = Failed, l.Problem
	default:
		r.State, r.Text = Waiting, "connecting to tor's control port"
	}
	return r
}

func (l Ladder) bootstrapRung() Rung {
	r := Rung{Name: "bootstrapped"}
	switch b := l.Bootstrap; {
	case !b.Known:
		r.State, r.Text = Unknown, "Tor's progress is not known without its control port"
		if l.SOCKS == (netx.Addr{}) {
			r.State, r.Text = Waiting, "waiting for Tor"
		}
	case b.Percent >= 100 && b.NoCircuits:
		r.State, r.Text = Waiting, "Tor was connected and cannot build circuits at present: is this machine online?"
	case b.Percent >= 100:
		r.State, r.Text = OK, "Tor is connected"
	default:
		r.State, r.Text = Waiting, fmt.Sprintf("Tor is connecting: %d %% %s", b.Percent, b.Summary)
		if b.Warning != "" {
			r.Text += " (" + b.Warning + ")"
		}
		if l.At.Sub(b.Since) > stuckAfter {
			r.State = Failed
			r.Text += "; no progress for " + l.At.Sub(b.Since).Round(time.Second).String() + ": the network may block Tor: see bridges"
		}
	}
	if l.ClockSkew != 0 {
		r.Text += "; " + skewText(l.ClockSkew)
		if r.State != OK {
			r.State = Failed
		}
	}
	return r
}

func skewText(skew time.Duration) string {
	direction := "ahead"
	if skew < 0 {
		direction, skew = "behind", -skew
	}
	return fmt.Sprintf("this machine's clock is %s %s, and Tor does not work with a wrong clock: set it", skew.Round(time.Second), direction)
}

// name is what people call the service.
func (s ServiceStatus) name() string {
	if s.Address == "" {
		return "onion service in " + s.Dir
	}
	return "onion service " + s.Address.String()
}

func (s ServiceStatus) publishedRung() Rung {
	r := Rung{Name: "published"}
	switch {
	case s.Problem != "":
		r.State, r.Text = Failed, s.Problem
	case s.Uploaded > 0 && s.Address != "":
		r.State, r.Text = OK, fmt.Sprintf("%s published at %d of %d directories", s.name(), s.Uploaded, s.Asked)
	case !s.Reached.IsZero(): // published before we came
		r.State, r.Text = OK, s.name()+" published"
	case s.Added && s.slowAddress:
		r.State, r.Text = Waiting, fmt.Sprintf("%s: tor has it, and may take two hours to show its address; to have it at once: sudo cat %s, then tub.port = %s and tub.location = tor:ADDRESS:%d",
			s.name(), filepath.Join(s.Dir, "hostname"), endpointOf(s.Target), s.Port)
	case s.Added && s.Address == "":
		r.State, r.Text = Waiting, s.name()+": waiting for tor to show its address"
	case s.Added:
		r.State, r.Text = Waiting, fmt.Sprintf("%s is being published (0 of %d directories)", s.name(), s.Asked)
	default:
		r.State, r.Text = Waiting, s.name()+" waits for tor"
	}
	return r
}

// endpointOf is a target as tub.port has it.
func endpointOf(target string) string {
	if ap, err := netip.ParseAddrPort(strings.TrimPrefix(target, "tcp:")); err == nil {
		return fmt.Sprintf("tcp:%d:interface=%s", ap.Port(), strings.ReplaceAll(ap.Addr().String(), ":", `\:`))
	}
	return target
}

func (s ServiceStatus) reachedRung() Rung {
	if s.Reached.IsZero() {
		return Rung{Name: "reached", State: Waiting, Text: "not yet reached from outside through Tor"}
	}
	return Rung{Name: "reached", State: OK, Text: "reached from outside through Tor"}
}

// String gives the ladder in a line, for logs: the first rung that is not ok.
func (l Ladder) String() string {
	rungs := l.Rungs()
	i := slices.IndexFunc(rungs, func(r Rung) bool { return r.State == Failed || r.State == Waiting })
	if i < 0 {
		return "Tor is ready"
	}
	return rungs[i].Text
}

// board holds the ladder and tells of changes.
type board struct {
	mu      sync.Mutex // guards below
	now     Ladder
	changed chan struct{} // closed at the next change
}

func newBoard() *board { return &board{changed: make(chan struct{})} }

// update changes the ladder under the lock; f must not block.
func (b *board) update(f func(l *Ladder)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.now)
	close(b.changed)
	b.changed = make(chan struct{})
}

// look returns a copy and a channel that is closed at the next change.
func (b *board) look() (Ladder, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.now
	l.At = time.Now()
	l.Services = slices.Clone(l.Services)
	l.TorSays = slices.Clone(l.TorSays)
	return l, b.changed
}

// service updates the status of one service.
func (b *board) service(key string, f func(s *ServiceStatus)) {
	b.update(func(l *Ladder) {
		for i := range l.Services {
			if s := &l.Services[i]; s.key == key {
				f(s)
			}
		}
	})
}

// torSaysMost bounds the warnings kept.
const torSaysMost = 8

// torSays keeps a warning of a launched tor, once.
func (b *board) torSays(text string) {
	b.update(func(l *Ladder) {
		l.TorSays = slices.DeleteFunc(l.TorSays, func(s string) bool { return strings.EqualFold(s, text) })
		l.TorSays = append(l.TorSays, text)
		if len(l.TorSays) > torSaysMost {
			l.TorSays = slices.Delete(l.TorSays, 0, len(l.TorSays)-torSaysMost)
		}
	})
}
