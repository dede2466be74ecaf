package introducer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
)

// answerTime is how long a subscriber may take for one announce_v2.
const answerTime = 2 * time.Minute

// subscriber is a peer that wants to hear of a service. What it has not been
// told yet is kept as keys only, so one that does not listen costs little.
type subscriber struct {
	ref      *foolscap.Ref
	service  string
	nickname string
	version  string
	since    time.Time

	wake    chan struct{}             // of capacity 1
	pending map[announce.Key]struct{} // guarded by Server.mu
}

// subscribe begins to tell a subscriber all there is of a service, now and
// whenever something new comes, until its connection ends.
func (s *Server) subscribe(c *foolscap.Call) error {
	ref, info := c.Ref(0), c.Dict(2)
	if ref == nil {
		return refusal(errors.New("the subscriber is one of the introducer's own objects"))
	}
	sub := &subscriber{service: text(c.Value(1)), since: s.conf.Now(), wake: make(chan struct{}, 1), pending: map[announce.Key]struct{}{}}
	if v, ok := lookup(info, "nickname"); ok {
		sub.nickname = text(v)
	}
	if v, ok := lookup(info, "my-version"); ok {
		sub.version = text(v)
	}
	if err := s.enrol(c.Conn, sub, ref); err != nil {
		s.conf.Log.Info("subscription refused", "peer", c.Peer(), "service", sub.service, "err", err)
		return refusal(err)
	}
	s.conf.Log.Info("subscribed", "peer", c.Peer(), "service", sub.service, "nickname", sub.nickname)
	return nil
}

func (s *Server) enrol(conn *foolscap.Conn, sub *subscriber, ref *foolscap.Ref) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errors.New("the introducer is closing")
	case s.subTotal >= s.conf.Limits.Subscribers:
		return fmt.Errorf("the introducer is full: %d subscribers", s.subTotal)
	case s.subCount[conn] >= s.conf.Limits.PerSubscriber:
		return fmt.Errorf("more than %d subscriptions over one connection", s.conf.Limits.PerSubscriber)
	}
	sub.ref = ref.Hold()
	s.subTotal++
	s.subCount[conn]++
	if s.subs[sub.service] == nil {
		s.subs[sub.service] = map[*subscriber]struct{}{}
	}
	s.subs[sub.service][sub] = struct{}{}
	for at := range s.entries {
		if at.service == sub.service {
			sub.pending[at.key] = struct{}{}
		}
	}
	sub.wake <- struct{}{}
	s.tasks.Go(func() {
		s.deliver(sub)
		s.leave(conn, sub)
	})
	return nil
}

// leave ends a subscription.
func (s *Server) leave(conn *foolscap.Conn, sub *subscriber) {
	sub.ref.Release()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subs[sub.service], sub)
	if len(s.subs[sub.service]) == 0 {
		delete(s.subs, sub.service)
	}
	s.subTotal--
	if s.subCount[conn]--; s.subCount[conn] == 0 {
		delete(s.subCount, conn)
	}
}

// tell has every subscriber hear of an announcement.
func (s *Server) tell(at index) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs[at.service] {
		sub.pending[at.key] = struct{}{}
		select {
		case sub.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// deliver tells a subscriber what is pending, until its connection or the
// Server ends.
func (s *Server) deliver(sub *subscriber) {
	for {
		select {
		case <-sub.wake:
		case <-sub.ref.Lost():
			return
		case <-s.ctx.Done():
			return
		}
		for {
			batch, keys := s.take(sub)
			if len(batch) == 0 {
				break
			}
			ctx, cancel := context.WithTimeout(s.ctx, answerTime)
			_, err := sub.ref.Call(ctx, "announce_v2", banana.None(), batch)
			cancel()
			if err != nil && sub.ref.Conn().Err() == nil && s.ctx.Err() == nil {
				s.conf.Log.Warn("subscriber did not take announcements", "peer", sub.ref.Peer(), "count", len(batch), "err", err)
			}
			if sub.ref.Conn().Err() != nil || s.ctx.Err() != nil {
				return
			}
			if err != nil && !answered(err) {
				s.putBack(sub, keys)
			}
		}
	}
}

// answered reports whether an error of a call is the peer's answer to it.
func answered(err error) bool {
	_, remote := errors.AsType[*foolscap.RemoteError](err)
	_, odd := errors.AsType[*banana.Violation](err)
	return remote || odd
}

// putBack makes pending again what a subscriber may not have heard. One that
// answers nothing loses its connection before long.
func (s *Server) putBack(sub *subscriber, keys []announce.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		sub.pending[key] = struct{}{}
	}
}

// take removes a batch of what is pending for a subscriber and returns it as
// announce_v2 has it, with the keys.
func (s *Server) take(sub *subscriber) (batch banana.Set, keys []announce.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := int64(0)
	for key := range sub.pending {
		e := s.entries[index{sub.service, key}]
		if e != nil && len(batch) > 0 && (len(batch) >= batchCount || size+e.size() > batchBytes) {
			return batch, keys
		}
		delete(sub.pending, key)
		if e != nil {
			batch, keys = append(batch, toWire(e.signed)), append(keys, key)
			size += e.size()
		}
	}
	return batch, keys
}
