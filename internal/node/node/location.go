package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/config/endpoint"
)

// location is where others are told to knock: tub.location, with AUTO spelled
// out once. The addresses of onion services in tor's folders come later.
type location struct {
	values []endpoint.Value
	auto   []furl.Hint
}

// locate spells out tub.location for a node that listens on port.
func (n *Node) locate(port int) (location, error) {
	l := location{values: n.cfg.Node.TubLocation}
	if len(l.values) == 0 && n.cfg.Node.Listens {
		l.values = []endpoint.Value{endpoint.Auto{}}
	}
	if port == 0 || !slices.Contains(l.values, endpoint.Value(endpoint.Auto{})) {
		return l, nil
	}
	hosts, err := netx.LocalAddresses()
	if err != nil {
		return l, fmt.Errorf("finding this machine's addresses for tub.location = AUTO: %w", err)
	}
	for _, ip := range hosts {
		l.auto = append(l.auto, furl.Hint{Kind: furl.TCP, Host: ip.String(), Port: port})
	}
	return l, nil
}

// isClear reports whether a location tells of this machine, rather than of
// an onion service.
func isClear(v endpoint.Value) bool {
	switch h := v.(type) {
	case endpoint.Auto:
		return true
	case endpoint.Hint:
		return !furl.IsOnion(h.Host)
	}
	return false
}

// hints are the places that are known at this moment, in the order of
// tub.location, and how many are missing. t may be nil.
func (l location) hints(t *tor.Tor) (hints []furl.Hint, missing int) {
	for _, v := range l.values {
		if _, ok := v.(endpoint.Auto); ok {
			hints = append(hints, l.auto...)
			continue
		}
		o, late := dirOnion(v)
		if !late {
			hints = append(hints, config.Hints([]endpoint.Value{v})...)
		} else if at, ok := addressOf(t, o); ok {
			hints = append(hints, at)
		} else {
			missing++
		}
	}
	return hints, missing
}

func dirOnion(v endpoint.Value) (endpoint.Onion, bool) {
	o, ok := v.(endpoint.Onion)
	return o, ok && o.HiddenServiceDir != ""
}

// addressOf is the hint for a service in a folder of tor's, once its address
// is known.
func addressOf(t *tor.Tor, o endpoint.Onion) (furl.Hint, bool) {
	if t == nil {
		return furl.Hint{}, false
	}
	for _, s := range t.Status().Services {
		if s.Dir == o.HiddenServiceDir && s.Address != "" {
			return config.OnionHint(s.Address, o.Port), true
		}
	}
	return furl.Hint{}, false
}

// waits reports whether tor has a say in where this node is.
func (l location) waits() bool {
	return slices.ContainsFunc(l.values, func(v endpoint.Value) bool { _, ok := dirOnion(v); return ok })
}

// describe names places for people.
func describe(hints []furl.Hint, missing int) string {
	var names []string
	for _, h := range hints {
		names = append(names, h.String())
	}
	if missing > 0 {
		names = append(names, "an onion address that tor has yet to show")
	}
	if len(names) == 0 {
		return "no address that others are told"
	}
	return strings.Join(names, ", ")
}

// announce makes these hints the ones that others are told, in files and by
// introducers. The secrets of the address stay the same.
func (n *Node) announce(hints []furl.Hint) (config.Server, error) {
	o := n.cfg.Offer(hints)
	o.HaveShares = hasShares(n.cfg.Storage.Dir)
	s, err := config.EnsureServer(n.cfg.Dir, n.identity, n.cert, o)
	if err != nil {
		return s, err
	}
	n.tub.SetHints(hints)
	if len(hints) > 0 {
		err = n.word.offer(s.Server)
	}
	return s, err
}

// follow tells anew whenever tor shows the address of an onion service.
func (n *Node) follow(ctx context.Context, l location, told []furl.Hint, tell func([]furl.Hint) error) error {
	for {
		_, changed := n.tor.Watch()
		if now, missing := l.hints(n.tor); !slices.Equal(now, told) {
			if err := tell(now); err != nil {
				n.log.Warn("the new address is not announced", "err", err)
			} else {
				n.log.Info("announcing another address", "at", describe(now, missing))
				told = now
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// doorsOpen reports whether this node listens wherever tor delivers to it:
// where that is, tor says for some of them.
func doorsOpen(l tor.Ladder) bool {
	return !slices.ContainsFunc(l.Services, func(s tor.ServiceStatus) bool { return s.Dir != "" && s.Target == "" })
}
