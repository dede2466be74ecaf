package grid

import (
	"errors"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
)

// Protocol is how a server is spoken to.
type Protocol string

// The protocols.
const (
	GBS      Protocol = "GBS" // the HTTP protocol, Great Black Swamp
	Foolscap Protocol = "Foolscap"
)

// Address is a way to a server: one NURL, or a fURL with the hints that may be
// used. What servers.yaml says of Tor has been heeded: an address of the clear
// network that is to be reached through Tor is one of Tor here.
type Address struct {
	Protocol Protocol
	NURL     furl.NURL // of GBS
	FURL     furl.FURL // of Foolscap
	// Direct is an address of the clear network that servers.yaml wants dialled
	// without Tor, whatever [connections] tcp says. A node that hides must not.
	Direct bool
}

// ErrNoConnection marks the errors of a client that could not so much as
// connect to its address. Another protocol at the same place would fare no
// better.
var ErrNoConnection = errors.New("no connection")

// samePlaces reports whether f names no place that is not of one of gbs.
func samePlaces(gbs []Address, f *Address) bool {
	type place struct {
		host string
		port int
	}
	at := map[place]bool{}
	for _, a := range gbs {
		at[place{a.NURL.Host, a.NURL.Port}] = true
	}
	for _, h := range f.FURL.Hints {
		if !at[place{h.Host, h.Port}] {
			return false
		}
	}
	return true
}

// addresses returns the ways to k: of the HTTP protocol, and the one of
// Foolscap, if there is any.
func (g *Grid) addresses(k Known) (gbs []Address, foolscap *Address) {
	direct := k.Via.TCP == netx.Direct && g.carrier() != netx.Direct
	for _, n := range k.NURLs {
		onTor := n.Tor || furl.IsOnion(n.Host)
		switch {
		case g.c.ForceFoolscap, onTor && k.Via.Tor == netx.Disabled, !onTor && k.Via.TCP == netx.Disabled:
			continue
		case !onTor && k.Via.TCP == netx.ViaTor:
			n.Tor = true
		}
		gbs = append(gbs, Address{Protocol: GBS, NURL: n, Direct: direct && !onTor})
	}
	f := k.FURL
	f.Hints = nil
	for _, h := range k.FURL.Hints {
		onTor := h.Kind == furl.Tor || h.Kind == furl.TCP && furl.IsOnion(h.Host)
		switch {
		case h.Kind != furl.TCP && h.Kind != furl.Tor, onTor && k.Via.Tor == netx.Disabled, !onTor && k.Via.TCP == netx.Disabled:
			continue
		case !onTor && k.Via.TCP == netx.ViaTor:
			h = furl.Hint{Kind: furl.Tor, Host: h.Host, Port: h.Port}
		}
		f.Hints = append(f.Hints, h)
	}
	if len(f.Hints) > 0 {
		foolscap = &Address{Protocol: Foolscap, FURL: f, Direct: direct}
	}
	return gbs, foolscap
}

func (g *Grid) carrier() netx.Carrier {
	if g.c.TCP == "" {
		return netx.Direct
	}
	return g.c.TCP
}

// kind is how a is reached, in a word: "onion", "tor" or "tcp". hint is the
// one of the fURL that led to a connection, if that is known.
func (g *Grid) kind(a Address, hint string) string {
	host, tor := a.NURL.Host, a.NURL.Tor
	if a.Protocol == Foolscap {
		h, err := furl.ParseHint(hint)
		if err != nil {
			h = a.FURL.Hints[0]
		}
		host, tor = h.Host, h.Kind == furl.Tor
	}
	switch {
	case furl.IsOnion(host):
		return "onion"
	case tor, g.carrier() == netx.ViaTor && !a.Direct:
		return "tor"
	}
	return "tcp"
}
