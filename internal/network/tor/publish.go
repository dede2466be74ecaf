package tor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
	"tahoe-go/internal/network/tor/onion"
)

// Patience with tor and its network. An onion connection right after publishing
// may take several tries, and Tor's network is not to be bothered.
const (
	collisionPause = 2 * time.Second  // between tries while another connection holds the key
	collisionTime  = time.Minute      // how long that is taken for our own former connection
	refusedPause   = time.Minute      // between tries when tor will not have the service
	selfDialTime   = 60 * time.Second // for one connection to ourselves
	selfDialPause  = 10 * time.Second // after one that failed, doubled each time
	selfDialMost   = 10 * time.Minute // pause at most
	selfDialEvery  = time.Hour        // after one that succeeded
	provingTries   = 3                // connections to find out whether tor reaches a socket
	publishTime    = 2 * time.Minute  // for the first upload of a descriptor that is only a test
)

// keeper keeps services published over one control connection.
type keeper struct {
	tor     *Tor
	control *control.Conn
	ctx     context.Context // ends with the connection, and before the keeper does
	wg      sync.WaitGroup
	kept    map[net.Listener]bool // guarded by tor.mu

	settling sync.Mutex // held while tor's own services are looked at and changed
}

// keepAll starts on the services that have come since the last call.
func (k *keeper) keepAll() {
	k.tor.mu.Lock()
	defer k.tor.mu.Unlock()
	for _, s := range k.tor.services {
		if !k.kept[s] {
			k.kept[s] = true
			k.wg.Go(func() { k.keep(s) })
		}
	}
	for _, d := range k.tor.dirs {
		if !k.kept[d] {
			k.kept[d] = true
			k.wg.Go(func() { k.keepDir(d) })
		}
	}
}

// keep publishes one service and checks on it until it is closed or the
// connection ends. Commands run under the connection's context, so that it is
// always known whether tor has the service.
func (k *keeper) keep(s *service) {
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	k.wg.Go(func() {
		select {
		case <-s.done: // the listener was closed
			cancel()
		case <-ctx.Done():
		}
	})
	if k.publish(ctx, s) {
		k.watch(ctx, s)
	}
	k.remove(s)
}

// publish adds a service, again and again if need be. It reports whether it did
// before ctx ended.
func (k *keeper) publish(ctx context.Context, s *service) bool {
	began := time.Now()
	said := ""
	for ctx.Err() == nil {
		err := k.add(s)
		if err == nil {
			s.status(func(st *ServiceStatus) { st.Added, st.Problem, st.Target = true, "", s.target() })
			return true
		}
		pause := refusedPause
		refused, ok := errors.AsType[*control.Error](err)
		if ok && refused.Collision() {
			// After a crash tor may take a while to notice that our former
			// connection, which holds the service, is dead.
			pause = collisionPause
		}
		if said != err.Error() && k.ctx.Err() == nil {
			said = err.Error()
			k.tor.log.Warn("onion service not added", "err", err, "again_in", pause)
		}
		switch {
		case ok && refused.Collision():
			if time.Since(began) >= collisionTime {
				s.status(func(st *ServiceStatus) {
					st.Problem = "another running node already serves the onion address " + s.addr.String() + ": stop one of the two"
				})
			}
		case ok:
			s.status(func(st *ServiceStatus) { st.Problem = fmt.Sprintf("tor does not take the onion service: %v", err) })
		}
		if !sleep(ctx, pause) {
			break
		}
	}
	return false
}

// remove takes a service down, if tor has it.
func (k *keeper) remove(s *service) {
	if !s.live || k.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(k.ctx, commandTime)
	defer cancel()
	if err := k.control.DelOnion(ctx, s.addr); err != nil {
		k.tor.log.Debug("taking down an onion service", "err", err)
	}
	s.live = false
}

// add sends ADD_ONION, with fewer and fewer of the optional words.
func (k *keeper) add(s *service) (err error) {
	ctx, cancel := context.WithTimeout(k.ctx, commandTime)
	defer cancel()
	s.live = false
	for _, extra := range s.extras() {
		s.expect()
		err = k.control.AddOnion(ctx, control.Service{
			Key: s.cfg.Key, Port: s.cfg.Port, Target: s.target(), ClientAuth: s.cfg.ClientAuth, Extra: extra,
		})
		if refused, ok := errors.AsType[*control.Error](err); !ok || !refused.BadArgument() {
			s.live = err == nil
			return err
		}
		if len(extra) > 0 {
			k.tor.log.Info("tor does not know an optional word; leaving it out", "words", extra, "err", err)
		}
	}
	return err
}

// watch checks on a published service from outside, and finds out whether tor
// can deliver to its socket.
func (k *keeper) watch(ctx context.Context, s *service) {
	if !wait(ctx, s.uploaded()) {
		return
	}
	k.tor.log.Info("onion service published", "address", s.addr.String(), "target", s.target())
	if s.unproven() && k.proveSocket(ctx, s) {
		if !k.switchToSocket(ctx, s) {
			return
		}
	}
	pause := selfDialPause
	for {
		if err := k.tor.selfDial(ctx, s.addr, s.cfg.Port); err == nil {
			s.status(func(st *ServiceStatus) { st.Reached = time.Now() })
			pause = selfDialPause
			if !sleep(ctx, jitter(selfDialEvery)) {
				return
			}
			continue
		} else if ctx.Err() == nil {
			k.tor.log.Debug("own onion service not reached", "err", err)
		}
		if !sleep(ctx, jitter(pause)) {
			return
		}
		pause = min(2*pause, selfDialMost)
	}
}

// uploaded returns a channel that is closed once a directory has the
// descriptor.
func (s *service) uploaded() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads != nil {
		return s.uploads
	}
	closed := make(chan struct{})
	close(closed)
	return closed
}

// selfDial connects to an onion service of ours through Tor, on a circuit of
// its own, and hangs up.
func (t *Tor) selfDial(ctx context.Context, addr onion.Address, port int) error {
	ctx, cancel := context.WithTimeout(ctx, selfDialTime)
	defer cancel()
	c, err := t.DialTor(ctx, selfAddr(addr, port))
	if err != nil {
		return err
	}
	return c.Close()
}

// selfAddr is one of our onion services, by a circuit of its own.
func selfAddr(addr onion.Address, port int) netx.Addr {
	return netx.Addr{Kind: netx.Tor, Host: addr.String(), Port: port, Isolation: "self:" + rand.Text()}
}

// proveSocket finds out whether tor delivers to the socket of s, by a service
// with a key for this one purpose whose target is that socket: the service
// itself stays reachable meanwhile.
func (k *keeper) proveSocket(ctx context.Context, s *service) bool {
	key, err := onion.NewKey(rand.Reader)
	if err != nil {
		return false
	}
	test := &service{tor: k.tor, cfg: OnionConfig{Key: key, Port: s.cfg.Port}, addr: key.Address(), inbox: newInbox(), socket: s.socket, proven: true}
	k.tor.mu.Lock()
	k.tor.services = append(k.tor.services, test) // to receive events
	k.kept[test] = true
	k.tor.mu.Unlock()
	defer test.Close()
	if err := k.add(test); err != nil {
		k.tor.log.Debug("testing the onion socket", "err", err)
		return false
	}
	defer k.remove(test)
	published, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	if !wait(published, test.uploaded()) {
		return false
	}
	for range provingTries {
		err := k.tor.selfDial(ctx, test.addr, test.cfg.Port)
		if err == nil {
			return true
		}
		k.tor.log.Debug("tor was not seen to reach the onion socket", "err", err)
	}
	return false
}

// switchToSocket publishes s again with its socket as the target, and closes
// the port.
func (k *keeper) switchToSocket(ctx context.Context, s *service) bool {
	s.mu.Lock()
	s.proven = true
	s.mu.Unlock()
	k.remove(s)
	if !k.publish(ctx, s) || !wait(ctx, s.uploaded()) {
		return false
	}
	k.tor.log.Info("tor reaches the onion socket; port closed", "address", s.addr.String())
	s.mu.Lock()
	port := s.port
	s.mu.Unlock()
	s.shut(port)
	return true
}

// wait reports whether c was closed before ctx ended.
func wait(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
