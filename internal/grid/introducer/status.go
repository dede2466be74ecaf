package introducer

import (
	"cmp"
	"slices"
	"time"

	"tahoe-go/internal/network/foolscap"
)

// Event is an announcement that was dropped or refused, for people to read.
// The texts but Why are a peer's words.
type Event struct {
	At       time.Time
	Peer     string // TubID of who sent it, if somebody did
	Key      string // "v0-…", or what stood there instead
	Service  string
	Nickname string
	Why      string
	Times    int // how often in a row
}

// ring keeps the last events and counts all.
type ring struct {
	events []Event
	total  int64
	lines  rate
}

const ringSize = 100

// What is logged of events, which peers may make without end: so many lines at
// once, and in the long run one in this time.
const (
	linesAtOnce = 50
	lineEvery   = time.Minute
)

// add adds an event, to the last one if it says the same. It reports whether a
// log should have it: if it says something else, and not too much was said.
func (r *ring) add(e Event) (worth bool) {
	r.total++
	e.Times = 1
	e.Service, e.Nickname = text(e.Service), text(e.Nickname)
	if last := len(r.events) - 1; last >= 0 && r.events[last].Key == e.Key && r.events[last].Why == e.Why {
		e.Times += r.events[last].Times
		r.events[last] = e
		return false
	}
	if len(r.events) == ringSize {
		r.events = slices.Delete(r.events, 0, 1)
	}
	r.events = append(r.events, e)
	return r.lines.allow(e.At, lineEvery, linesAtOnce)
}

// rate limits how often something happens.
type rate struct {
	paid time.Time // until when what has happened has used up its share of time
}

// allow reports whether it may happen once more now: as often as this at once,
// and in the long run once in every.
func (r *rate) allow(now time.Time, every time.Duration, atOnce int) bool {
	if r.paid.Before(now) {
		r.paid = now
	}
	if r.paid.Sub(now) > every*time.Duration(atOnce-1) {
		return false
	}
	r.paid = r.paid.Add(every)
	return true
}

// ServerStatus is what an introducer's page shows. Nicknames and versions are
// the peers' words.
type ServerStatus struct {
	Announcements []PublishedStatus // by service, nickname and key
	Subscribers   []SubscriberStatus
	Dropped       []Event // the last ones of this run, oldest first
	DroppedTotal  int64
	Refused       []Event // likewise; duplicates are not among them
	RefusedTotal  int64
	SaveErr       error // why the memory is not on disk
}

// PublishedStatus is a remembered announcement.
type PublishedStatus struct {
	Service, Key      string
	Nickname, Version string
	TubID             string // of a storage server
	Hints             []string
	Seqnum            int64
	First             time.Time // when the key first announced the service
	Connected         bool      // its publisher is
	LastSeen          time.Time
	Absent            time.Duration // counted towards KeepFor
}

// SubscriberStatus is a subscriber.
type SubscriberStatus struct {
	Service, TubID    string
	Nickname, Version string
	Hint              string // where we connected to it; empty if it connected to us
	Since             time.Time
}

// Status returns the present state.
func (s *Server) Status() ServerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := ServerStatus{
		Dropped: slices.Clone(s.dropped.events), DroppedTotal: s.dropped.total,
		Refused: slices.Clone(s.refused.events), RefusedTotal: s.refused.total, SaveErr: s.saveErr,
	}
	for at, e := range s.entries {
		p := PublishedStatus{
			Service: at.service, Key: at.key.String(), Nickname: e.ann.Nickname, Version: e.ann.Version, Seqnum: e.ann.Seqnum,
			First: e.first, Connected: len(e.held) > 0, LastSeen: e.seen, Absent: e.absent,
		}
		if p.Connected {
			p.LastSeen = s.conf.Now()
		}
		if server, err := e.ann.Server(); err == nil {
			p.TubID = server.FURL.TubID
			for _, h := range server.FURL.Hints {
				p.Hints = append(p.Hints, h.String())
			}
		}
		st.Announcements = append(st.Announcements, p)
	}
	for _, subs := range s.subs {
		for sub := range subs {
			st.Subscribers = append(st.Subscribers, SubscriberStatus{sub.service, sub.ref.Peer(), sub.nickname, sub.version, sub.ref.Conn().Info().Hint, sub.since})
		}
	}
	slices.SortFunc(st.Announcements, func(a, b PublishedStatus) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Nickname, b.Nickname), cmp.Compare(a.Key, b.Key))
	})
	slices.SortFunc(st.Subscribers, func(a, b SubscriberStatus) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Nickname, b.Nickname), a.Since.Compare(b.Since))
	})
	return st
}

// ClientStatus is what a node's pages show of an introducer.
type ClientStatus struct {
	Petname      string
	TubID        string
	Connection   foolscap.Status
	Version      string // the introducer's, in its words
	Subscribed   bool   // over the present connection
	HeardOut     bool   // it has had time since to tell all it knows
	Problem      error  // why the introducer is connected but of no use
	Published    PublishStatus
	Known        []KnownStatus // by nickname and id
	Dropped      []Event       // the last ones, oldest first
	DroppedTotal int64
	CacheErr     error // why the cache was not read or is not on disk
}

// PublishStatus is how an announcement of ours fared.
type PublishStatus struct {
	Seqnum int64     // 0: nothing is to be published
	Sent   time.Time // when the introducer last took it; zero: not yet
	Err    error     // of the last try
	Newer  int64     // seqnum of a later announcement of our key that somebody made; 0: none
}

// KnownStatus is an announcement that is believed.
type KnownStatus struct {
	ID, Nickname, Version string
	Seqnum                int64
	Why                   string // it is believed
	Cached                bool   // the introducer has not said it in this run
	Heard                 time.Time
}

// Status returns the present state.
func (c *Client) Status() ClientStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := ClientStatus{
		Petname: c.conf.Petname, TubID: c.conf.FURL.TubID, Connection: c.keep.Status(), Version: c.version, Subscribed: c.subscribed, HeardOut: c.heardOut,
		Problem: c.problem, Published: c.published, Dropped: slices.Clone(c.dropped.events), DroppedTotal: c.dropped.total, CacheErr: c.cacheErr,
	}
	for _, h := range c.known {
		st.Known = append(st.Known, KnownStatus{h.ann.Key.String(), h.ann.Nickname, h.ann.Version, h.ann.Seqnum, h.why, h.cached, h.at})
	}
	slices.SortFunc(st.Known, func(a, b KnownStatus) int {
		return cmp.Or(cmp.Compare(a.Nickname, b.Nickname), cmp.Compare(a.ID, b.ID))
	})
	return st
}
