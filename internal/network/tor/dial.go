package tor

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/onion"
	"tahoe-go/internal/network/tor/socks"
)

// AwayError says that a connection was not made because Tor is not there, or
// not far enough. Nothing was tried by another way.
type AwayError struct {
	Why string // for the operator, with the cure
	Err error  // may be nil
}

func (e *AwayError) Unwrap() error { return e.Err }

func (e *AwayError) Error() string {
	if e.Err != nil && e.Err.Error() != e.Why {
		return fmt.Sprintf("%s (%v)", e.Why, e.Err)
	}
	return e.Why
}

// DialTor connects to a.Host and a.Port through Tor, whatever a.Kind says. The
// host is an onion name, a host name or an IP literal and goes to Tor as it
// is. Connections with different a.Isolation never share a circuit. While tor
// is being started or looked for, DialTor waits for that; ctx bounds it all.
//
// Errors: *SOCKSError when Tor says no, *onion.AddressError for a name under
// .onion that is none, *AwayError when Tor is away.
func (t *Tor) DialTor(ctx context.Context, a netx.Addr) (net.Conn, error) {
	if onion.IsOnion(a.Host) {
		if _, err := onion.ParseAddress(a.Host); err != nil {
			return nil, err
		}
	}
	proxy, err := t.dialProxy(ctx)
	if err != nil {
		return nil, err
	}
	auth, again := t.isolation.auth(a.Isolation)
	if err := socks.Connect(ctx, proxy, auth, a.Host, a.Port); err != nil {
		proxy.Close()
		if refused, ok := errors.AsType[*socks.Error](err); !ok || refused.FreshCircuitHelps() {
			again()
		}
		return nil, t.explain(err)
	}
	return proxy, nil
}

// dialProxy connects to Tor's SOCKS port. If there is none it has the
// supervisor look for Tor once, now, and tries again.
func (t *Tor) dialProxy(ctx context.Context) (net.Conn, error) {
	for try := 0; ; try++ {
		l, _ := t.board.look()
		err := error(nil)
		if l.SOCKS != (netx.Addr{}) {
			var c net.Conn
			near, cancel := context.WithTimeout(ctx, commandTime)
			c, err = t.dialLocal(near, l.SOCKS)
			cancel()
			if err == nil {
				return c, nil
			}
			if l.Problem == "" {
				l.Problem = "Tor does not answer any more at " + l.SOCKS.String() + "; reconnecting"
			}
		}
		if try > 0 || ctx.Err() != nil {
			if l.Problem == "" {
				l.Problem = l.String()
			}
			return nil, &AwayError{Why: l.Problem, Err: errors.Join(ctx.Err(), err)}
		}
		signal(t.kick)
		t.waitAttempt(ctx, l.attempts+1)
	}
}

// waitAttempt waits until the supervisor has looked for Tor n times.
func (t *Tor) waitAttempt(ctx context.Context, n int) {
	for {
		l, changed := t.board.look()
		if l.attempts >= n {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// explain adds what the control port knows to what the SOCKS port said: before
// tor is connected, every address "times out".
func (t *Tor) explain(err error) error {
	refused, ok := errors.AsType[*socks.Error](err)
	late := ok && refused.Code == socks.TimedOut || errors.Is(err, context.DeadlineExceeded)
	if l := t.Status(); late && !l.Ready() {
		return &AwayError{Why: l.String(), Err: err}
	}
	return fmt.Errorf("connecting through Tor: %w", err)
}

// maxSOCKSUser leaves room for the purpose in the 255 bytes of a user.
const maxSOCKSUser = 200

// isolation makes SOCKS credentials out of labels.
type isolation struct {
	secret [32]byte
	prefix string // of users

	mu    *sync.Mutex // guards below
	round map[string]int
}

// roundsMost bounds the labels with failures that are remembered; beyond it all
// are forgotten, which costs old circuits being tried once more.
const roundsMost = 4096

func newIsolation(cfg Config) isolation {
	i := isolation{mu: new(sync.Mutex), round: map[string]int{}, prefix: "tahoe-"}
	rand.Read(i.secret[:])
	if cfg.SOCKSUser != "" || !cfg.SOCKSPassword.IsZero() {
		i.prefix = cfg.SOCKSUser + "-" + i.prefix
		h := hmac.New(sha256.New, i.secret[:])
		h.Write([]byte(cfg.SOCKSPassword.Reveal()))
		h.Sum(i.secret[:0])
	}
	return i
}

// auth returns the credentials for a label: the purpose (what is before the
// first colon) as user, and a password that says nothing of the label and is
// the same for the life of this process. again must be called when the circuit
// failed: from then on the label has other credentials, and so a fresh circuit.
func (i isolation) auth(label string) (auth socks.Auth, again func()) {
	i.mu.Lock()
	round := i.round[label]
	i.mu.Unlock()
	h := hmac.New(sha256.New, i.secret[:])
	h.Write([]byte(strconv.Itoa(round) + ":" + label))
	auth = socks.Auth{User: i.prefix + purpose(label), Password: hex.EncodeToString(h.Sum(nil))}
	return auth, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if len(i.round) >= roundsMost {
			clear(i.round)
		}
		i.round[label] = round + 1 // not ++: connections that failed together move on together
	}
}

// purpose is the part of a label that the SOCKS user shows, after a prefix that
// keeps us apart from other programs, and from tor's own meaning of some users.
func purpose(label string) string {
	p, _, found := strings.Cut(label, ":")
	if !found || p == "" || len(p) > 32 {
		p = "any"
	}
	return p
}
