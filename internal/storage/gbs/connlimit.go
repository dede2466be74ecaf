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
	if victim := cl.track(c, s); victim != nil {
		drop(victim)
	}
}

// closeWaiting drops all connections without a request. A server that shuts
// down would wait seconds for those that never had one.
func (cl *connLimit) closeWaiting() {
	cl.mu.Lock()
	var waiting []net.Conn
	for e := cl.waiting.Front(); e != nil; e = e.Next() {
		waiting = append(waiting, e.Value.(net.Conn))
	}
	cl.mu.Unlock()
	for _, c := range waiting {
		drop(c)
	}
}

// drop closes a connection at once: doing it politely, as TLS wants, may take
// seconds.
func drop(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	c.Close()
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
