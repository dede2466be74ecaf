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

// Bounds of what a Client believes.
const (
	maxKnown      = 4096
	maxKnownBytes = 8 << 20 // as the cache has it
)

// heard is an announcement that is believed.
type heard struct {
	ann    *announce.Announcement
	why    string
	cached bool      // it comes from the cache
	live   bool      // the introducer has said it over the present connection
	at     time.Time // when the introducer was last known to say it
	yaml   []byte    // for the cache, without the time; nil: YAML has no words for it
}

var subscriberMethods = map[string]*foolscap.Method{
	"announce_v2": {
		// Any value: one bad announcement must not keep out the others.
		Args:  []foolscap.Arg{{Name: "announcements", Schema: banana.SetOf(banana.Any(), 2*maxKnown)}},
		Limit: maxAnnounce,
		Do: func(_ context.Context, c *foolscap.Call) (any, error) {
			c.Self.(*Client).hear(c.Set(0))
			return nil, nil
		},
	},
}

// hear takes announcements from the introducer.
func (c *Client) hear(set banana.Set) {
	c.hearMu.Lock()
	defer c.hearMu.Unlock()
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return
	}
	news := false
	for _, triple := range set {
		signed, err := fromWire(triple)
		if err != nil {
			c.drop(Event{Why: err.Error()})
			continue
		}
		ann, err := signed.Verify()
		if err != nil {
			c.drop(Event{Key: signed.Key, Why: err.Error()})
			continue
		}
		news = c.consider(ann) || news
	}
	if news {
		c.saveSoon()
	}
}

// consider decides about an announcement whose signature is good, and tells
// the Sink. c.hearMu is held.
func (c *Client) consider(ann *announce.Announcement) (news bool) {
	id := Event{Key: ann.Key.String(), Service: ann.Service, Nickname: ann.Nickname}
	if ann.Service != announce.Storage {
		id.Why = "nobody here asked for this service"
		c.drop(id)
		return false
	}
	c.mu.Lock()
	old := c.known[ann.Key]
	c.mu.Unlock()
	h := &heard{ann: ann, live: true, at: c.conf.Now(), why: "signed by its key, which is new here"}
	if old != nil {
		h.why = fmt.Sprintf("signed by its key, seqnum %d follows %d", ann.Seqnum, old.ann.Seqnum)
		err := ann.Replaces(old.ann)
		if errors.Is(err, announce.ErrDuplicate) {
			c.confirm(old)
			return false
		}
		if err != nil {
			id.Why = fmt.Sprintf("%v: seqnum %d, known is %d", err, ann.Seqnum, old.ann.Seqnum)
			c.drop(id)
			return false
		}
	}
	server, err := ann.Server()
	if err != nil {
		id.Why = err.Error()
		c.drop(id)
		return false
	}
	if err := c.learn(h); err != nil {
		id.Why = err.Error()
		c.drop(id)
		return false
	}
	c.conf.Log.Info("server announced", "server", id.Key, "nickname", ann.Nickname, "reason", h.why)
	for _, err := range server.Dropped {
		c.conf.Log.Warn("a part of an announcement was left out", "server", id.Key, "err", err)
	}
	c.conf.Sink.Announced(server)
	return true
}

// confirm notes that the introducer still says what is known.
func (c *Client) confirm(h *heard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.cached {
		h.cached, h.why = false, "signed by its key, and the same as in the cache"
	}
	h.live, h.at = true, c.conf.Now()
}

// learn makes an announcement the known one of its key.
func (c *Client) learn(h *heard) error {
	h.yaml = entryYAML(h.ann)
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.known[h.ann.Key]
	size := int64(len(h.yaml))
	if old != nil {
		size -= int64(len(old.yaml))
	}
	if old == nil && len(c.known) >= maxKnown || c.bytes+size > maxKnownBytes {
		return fmt.Errorf("too much is announced: %d servers, %d bytes", len(c.known), c.bytes)
	}
	c.known[h.ann.Key] = h
	c.bytes += size
	c.compareOwn()
	return nil
}

// compareOwn notes if what is known of this node is later than what it has
// published: its sequence numbers went back, or somebody else has its key.
// c.mu is held.
func (c *Client) compareOwn() {
	if c.signed == nil {
		return
	}
	own := c.known[c.conf.Key.Key()]
	if own == nil || own.ann.Seqnum <= c.published.Seqnum {
		c.published.Newer = 0
		return
	}
	if c.published.Newer == own.ann.Seqnum {
		return // it was said
	}
	c.published.Newer = own.ann.Seqnum
	c.conf.Log.Warn("there is a later announcement of this node than the one it makes, which does not count until its sequence number is greater", "seqnum", c.published.Seqnum, "known", own.ann.Seqnum)
}

// drop notes what is not believed and why.
func (c *Client) drop(e Event) {
	e.At, e.Peer = c.conf.Now(), c.conf.FURL.TubID
	c.mu.Lock()
	worth, total := c.dropped.add(e), c.dropped.total
	c.mu.Unlock()
	if !worth {
		return
	}
	c.conf.Log.Warn("announcement dropped", "server", text(e.Key), "service", e.Service, "nickname", e.Nickname, "reason", e.Why, "dropped_so_far", total)
}
