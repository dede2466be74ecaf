package introducer

import (
	"errors"
	"fmt"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/network/foolscap"
)

// changeEvery is how often a connection may change an announcement, in the
// long run: each is written to disk and sent to every subscriber.
const changeEvery = 10 * time.Second

// publisher is a connection that has published.
type publisher struct {
	entries map[index]struct{}
	changes rate
}

func (p *publisher) holds(at index) bool {
	_, ok := p.entries[at]
	return ok
}

// publish takes an announcement: on disk and on its way to the subscribers
// before the publisher has its answer. What is known already or is not newer is
// left alone without an error, as with the reference.
func (s *Server) publish(c *foolscap.Call) error {
	signed, err := fromWire(c.Value(0))
	var ann *announce.Announcement
	if err == nil {
		ann, err = signed.Verify()
	}
	if err != nil {
		s.refuse(Event{Peer: c.Peer(), Key: signed.Key, Why: err.Error()})
		return refusal(err)
	}
	generation, err := s.remember(c, signed, ann)
	switch {
	case errors.Is(err, announce.ErrDuplicate):
		return s.saveFor(generation) // which mostly finds all of it on disk
	case err != nil:
		s.refuse(Event{Peer: c.Peer(), Key: ann.Key.String(), Service: ann.Service, Nickname: ann.Nickname, Why: err.Error()})
		if errors.Is(err, announce.ErrStale) {
			return nil
		}
		return refusal(err)
	}
	s.conf.Log.Info("announcement taken", "key", ann.Key.String(), "service", ann.Service, "nickname", ann.Nickname, "seqnum", ann.Seqnum, "peer", c.Peer())
	err = s.saveFor(generation)
	s.tell(index{ann.Service, ann.Key}) // others should hear of it even if the disk is full
	return err
}

// saveFor saves, with an error for the publisher.
func (s *Server) saveFor(generation int64) error {
	if s.save(generation) != nil {
		return refusal(errors.New("announcement passed on, but it could not be written to disk"))
	}
	return nil
}

// remember puts an announcement into the index, if it may stand there, and
// holds it for the connection that it came over.
func (s *Server) remember(c *foolscap.Call, signed announce.Signed, ann *announce.Announcement) (generation int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errors.New("the introducer is closing")
	}
	at := index{ann.Service, ann.Key}
	old := s.entries[at]
	var before *announce.Announcement
	if old != nil {
		before = old.ann
	}
	if err := ann.Replaces(before); err != nil {
		if holdErr := s.hold(c, at); holdErr != nil {
			return 0, holdErr
		}
		if errors.Is(err, announce.ErrStale) {
			err = fmt.Errorf("%w: seqnum %d, known is %d", err, ann.Seqnum, before.Seqnum)
		}
		return s.generation, err
	}
	e := &entry{signed: signed, ann: ann, first: s.conf.Now(), held: map[*foolscap.Conn]struct{}{}}
	size := e.size()
	if old != nil {
		e.first, e.held = old.first, old.held
		size -= old.size()
	}
	if old == nil && len(s.entries) >= s.conf.Limits.Announcements {
		return 0, fmt.Errorf("the introducer is full: %d announcements", len(s.entries))
	}
	if s.bytes+size > s.conf.Limits.Bytes {
		return 0, fmt.Errorf("the introducer is full: %d bytes of announcements", s.bytes)
	}
	if err := s.hold(c, at); err != nil {
		return 0, err
	}
	if !s.publishers[c.Conn].changes.allow(s.conf.Now(), changeEvery, s.conf.Limits.PerPublisher) {
		return 0, errors.New("too many changes over one connection; try again later")
	}
	e.held[c.Conn] = struct{}{}
	e.seen = s.conf.Now()
	s.entries[at] = e
	s.bytes += size
	s.generation++
	return s.generation, nil
}

// hold notes that the publisher of an announcement is there, until its
// connection ends. s.mu is held.
func (s *Server) hold(c *foolscap.Call, at index) error {
	mine := s.publishers[c.Conn]
	if mine != nil && !mine.holds(at) && len(mine.entries) >= s.conf.Limits.PerPublisher {
		return fmt.Errorf("more than %d announcements over one connection", s.conf.Limits.PerPublisher)
	}
	if mine == nil {
		canary := c.Ref(1)
		if canary == nil {
			return errors.New("the canary is one of the introducer's own objects")
		}
		mine = &publisher{entries: map[index]struct{}{}}
		s.publishers[c.Conn] = mine
		conn := c.Conn
		canary.Hold().OnLost(func() { s.left(conn) })
	}
	mine.entries[at] = struct{}{}
	if e := s.entries[at]; e != nil {
		e.held[c.Conn] = struct{}{}
		e.absent, e.seen = 0, s.conf.Now()
	}
	return nil
}

// left notes that a publisher's connection has ended.
func (s *Server) left(conn *foolscap.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.publishers[conn]
	if p == nil {
		return
	}
	for at := range p.entries {
		if e := s.entries[at]; e != nil {
			delete(e.held, conn)
			e.seen = s.conf.Now()
		}
	}
	delete(s.publishers, conn)
}

// refuse notes what was not taken and why.
func (s *Server) refuse(e Event) {
	e.At = s.conf.Now()
	s.mu.Lock()
	worth, total := s.refused.add(e), s.refused.total
	s.mu.Unlock()
	if !worth {
		return
	}
	s.conf.Log.Info("announcement refused", "key", e.Key, "service", e.Service, "nickname", e.Nickname, "peer", e.Peer, "reason", e.Why, "refused_so_far", total)
}
