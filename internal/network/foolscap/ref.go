package foolscap

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/foolscap/banana"
)

var errTooMany = errors.New("the peer sent more references than one connection may hold")

// lent is an object of ours that the peer knows by a number. The peer's calls
// to it wait here for each other.
type lent struct {
	obj   *Object
	clid  int64
	count int // times sent, less those the peer has let go
	busy  bool
	queue []func()
}

// theirs is an object of the peer that we know by its number.
type theirs struct {
	clid     int64
	iface    string
	furl     furl.FURL // zero if it has none
	received int       // times it came, less those we told the peer we let go
	handles  int       // Refs in use
}

// Ref is a reference to an object of the peer. Whoever got it calls Release
// when done with it. It may be used concurrently.
type Ref struct {
	conn     *Conn
	to       *theirs
	released atomic.Bool
}

// Conn is the connection the reference came over. It is useless without it.
func (r *Ref) Conn() *Conn { return r.conn }

// Peer is the TubID of the object's side.
func (r *Ref) Peer() string { return r.conn.peer }

// Iface is the name of the remote interface, in the peer's words; may be empty.
func (r *Ref) Iface() string { return r.to.iface }

// FURL is the address of the object, if the peer gave one.
func (r *Ref) FURL() (furl.FURL, bool) { return r.to.furl, r.to.furl.TubID != "" }

// Lost is closed when the connection has ended.
func (r *Ref) Lost() <-chan struct{} { return r.conn.Lost() }

// OnLost has f called, in a goroutine of its own, when the connection ends. The
// result undoes that and reports whether it was in time.
func (r *Ref) OnLost(f func()) (stop func() bool) { return context.AfterFunc(r.conn.ctx, f) }

// Call calls a method and waits for its result, which must fit the schema; nil
// takes anything. Errors are *RemoteError for what the method raised,
// *banana.Violation for a result that does not fit, ErrLost or ErrClosed if
// the connection ended, or that of ctx. Arguments are encoded before Call
// waits for the result; after an error it is unknown whether the method was
// done, unless it was a *RemoteError. A buffer of banana.Into is the caller's
// again when Call returns.
//
// Calls wait here while many others of the connection are under way; see
// Limits. The peer begins them in the order in which they were made.
func (r *Ref) Call(ctx context.Context, method string, result *banana.Schema, args ...any) (any, error) {
	return r.conn.call(ctx, r.to.clid, method, result, args, nil)
}

// Send calls a method and wants no answer. It returns when the call waits to
// be written.
func (r *Ref) Send(ctx context.Context, method string, args ...any) error {
	return r.conn.send(ctx, func(e *banana.Encoder) error {
		return encodeCall(e, 0, r.to.clid, method, args, nil)
	})
}

// Hold returns another reference to the same object, to be released on its own.
func (r *Ref) Hold() *Ref {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	r.to.handles++
	return &Ref{conn: r.conn, to: r.to}
}

// Release lets go of the object, once; the peer is told when this was the last
// reference to it here.
func (r *Ref) Release() {
	if r == nil || r.released.Swap(true) {
		return
	}
	c := r.conn
	c.mu.Lock()
	r.to.handles--
	n := 0
	if r.to.handles == 0 {
		n, r.to.received = r.to.received, 0
	}
	c.mu.Unlock()
	if n > 0 {
		c.decref(r.to, n)
	}
}

// String names the peer and the interface.
func (r *Ref) String() string {
	return fmt.Sprintf("ref:%s:%.100q", short(r.conn.peer), r.to.iface)
}

// decref tells the peer. The object is remembered until the peer has answered:
// until then it may mention it without saying its interface again.
func (c *Conn) decref(to *theirs, n int) {
	c.callThen("decref", []banana.Pair{{Key: "clid", Value: to.clid}, {Key: "count", Value: n}}, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if to.received == 0 && to.handles == 0 && c.theirs[to.clid] == to {
			delete(c.theirs, to.clid)
		}
	})
}

// gotTheirs makes a Ref of my-reference.
func (c *Conn) gotTheirs(clid int64, iface, address []byte) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if clid == 0 {
		return nil, &banana.Violation{Why: "a reference to what is no object"}
	}
	to := c.theirs[clid]
	if to == nil {
		if len(c.theirs) >= c.tub.limits.References {
			return nil, errTooMany
		}
		to = &theirs{clid: clid, iface: string(iface)}
		if len(address) > 0 {
			f, err := furl.ParseFURL(string(address))
			if err == nil && f.TubID != c.peer {
				return nil, &banana.Violation{Why: "a reference to an object of another Tub"}
			}
			if err == nil {
				to.furl = f
			}
		}
		c.theirs[clid] = to
	}
	to.received++
	to.handles++
	r := &Ref{conn: c, to: to}
	c.message = append(c.message, r)
	return r, nil
}

// gotOurs finds the object of your-reference.
func (c *Conn) gotOurs(clid int64) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lent[clid]
	if l == nil {
		return nil, &banana.Violation{Why: "a reference to an object that the peer does not have"}
	}
	return l.obj, nil
}

// encodeRef encodes what package banana does not know. It runs with out.mu.
func (c *Conn) encodeRef(e *banana.Encoder, v any) error {
	switch v := v.(type) {
	case *Object:
		return c.encodeObject(e, v)
	case *Ref:
		if v.conn != c {
			return errors.New("foolscap: a reference cannot be sent to a third party")
		}
		n := e.Open("your-reference")
		e.Int(v.to.clid)
		e.Close(n)
		return nil
	}
	return fmt.Errorf("foolscap: cannot send a %T", v)
}

func (c *Conn) encodeObject(e *banana.Encoder, obj *Object) error {
	if obj == nil {
		return errors.New("foolscap: cannot send a nil *Object")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lentBy[obj]
	if l == nil {
		if len(c.lent) >= c.tub.limits.References {
			return fmt.Errorf("foolscap: the peer holds %d objects of ours already", len(c.lent))
		}
		c.lastCLID++
		l = &lent{obj: obj, clid: c.lastCLID}
		c.lent[l.clid], c.lentBy[obj] = l, l
	}
	l.count++
	c.out.lent = append(c.out.lent, l)
	n := e.Open("my-reference")
	e.Int(l.clid)
	if l.count == 1 {
		e.Bytes([]byte(obj.Iface))
		if f, ok := c.tub.furlOf(obj); ok {
			e.Bytes([]byte(f.Reveal()))
		}
	}
	e.Close(n)
	return nil
}

// takeBack undoes encodeObject for a message that was not sent.
func (c *Conn) takeBack(ls []*lent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range ls {
		c.unlend(l, 1)
	}
}

// unlend needs mu.
func (c *Conn) unlend(l *lent, n int) {
	l.count -= n
	if l.count <= 0 {
		delete(c.lent, l.clid)
		delete(c.lentBy, l.obj)
	}
}
