package foolscap

import (
	"errors"
	"fmt"
)

// maxRecords bounds how many peers without a connection are remembered.
const maxRecords = 4096

var errReplaced = errors.New("replaced by a newer connection")

// decide is the master's decision about an offer: whether it is the connection
// with this peer from now on.
func (t *Tub) decide(l *link, s stream, offer block, peer string) (*Conn, record, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, record{}, ErrClosed
	}
	if old := t.liveLocked(peer); old != nil {
		if why := t.keep(old, offer); why != "" {
			t.log.Debug("refused a duplicate connection", "peer", short(peer), "why", why)
			return nil, record{}, refuse(duplicateWhy)
		}
		t.detachLocked(old, errReplaced)
	}
	seq := t.masterOf[peer] + 1
	t.masterOf[peer] = seq
	trim(t.masterOf, t.conns)
	c := t.newConn(l, s, peer)
	c.slave = offer["my-incarnation"]
	c.seq = seq
	t.attachLocked(c)
	return c, record{t.id.incarnation, seq}, nil
}

// keep says why the connection that is there is better than the one offered,
// or "" if it must be dead. An offer tells which connection the peer thought
// was the last.
func (t *Tub) keep(old *Conn, offer block) string {
	last, ok := parseRecord(offer["last-connection"])
	switch {
	case offer["my-incarnation"] == "" || !ok:
		// An old peer; or one that accepted a connection it has no record of.
		return "the offer does not say what it knows"
	case offer["my-incarnation"] != old.slave:
		return "" // the peer has restarted
	case last.incarnation == noRecord.incarnation:
		return "the peer tries several ways at once" // one per hint
	case last.incarnation != t.id.incarnation:
		return "" // it has not heard of this incarnation's connection
	case last.seq == old.seq:
		return "" // it knows the connection and thinks that it is gone
	}
	return fmt.Sprintf("the peer knows connection %d and this is %d", last.seq, old.seq)
}

// follow takes the master's decision: the new connection replaces the old.
func (t *Tub) follow(l *link, s stream, peer string, rec record) (*Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	if old := t.liveLocked(peer); old != nil {
		t.detachLocked(old, errReplaced)
	}
	t.slaveOf[peer] = rec
	trim(t.slaveOf, t.conns)
	c := t.newConn(l, s, peer)
	t.attachLocked(c)
	return c, nil
}

// lastRecord is what this side, which dials, remembers of the last connection to
// peer in which the peer was the master. One that has come since it began to
// dial is not mentioned: the peer would take it for gone, and for replaced.
func (t *Tub) lastRecord(peer string) record {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.liveLocked(peer) != nil {
		return noRecord
	}
	if r, ok := t.slaveOf[peer]; ok {
		return r
	}
	return noRecord
}

// trim forgets one peer that is not connected, if there are too many: what a
// record is good for is to judge a connection that is still there.
func trim[V any](m map[string]V, conns map[string]*Conn) {
	if len(m) <= maxRecords {
		return
	}
	for peer := range m {
		if conns[peer] == nil {
			delete(m, peer)
			return
		}
	}
}

// short is how a TubID is named in logs.
func short(tubID string) string { return tubID[:min(len(tubID), 8)] }
