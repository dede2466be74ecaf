package gbs

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// connLimit bounds the connections of a server without letting those that do
// nothing keep out those that work: for one too many, the connection that has
// waited longest for a request is closed.
type connLimit struct {
	most int

	mu      sync.Mutex // guards below
	open    map[net.Conn]*list.Element
	waiting list.List // of net.Conn without a request, longest first
}

// changed is an http.Server's ConnState.
func (cl *connLimit) changed(c net.Conn, s http.ConnState) {
	victim := cl.track(c, s)
	if t, ok := victim.(*tls.Conn); ok {
		victim = t.NetConn() // closing TLS politely may take seconds
	}
	if victim != nil {
		victim.Close()
	}
}

func (cl *connLimit) track(c net.Conn, s http.ConnState) (victim net.Conn) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.open == nil {
		cl.open = make(map[net.Conn]*list.Element)
	}
	if e := cl.open[c]; e != nil {
		cl.waiting.Remove(e)
	}
	switch s {
	case http.StateNew, http.StateIdle:
		cl.open[c] = cl.waiting.PushBack(c)
	case http.StateActive:
		cl.open[c] = nil
	default: // closed, or not HTTP any more
		delete(cl.open, c)
	}
	if s != http.StateNew || len(cl.open) <= cl.most {
		return nil
	}
	// c itself if all others are at work. It counts no more from now on, lest
	// the next one too many pick it again before it has closed.
	victim = cl.waiting.Remove(cl.waiting.Front()).(net.Conn)
	delete(cl.open, victim)
	return victim
}
