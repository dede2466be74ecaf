package foolscap

import (
	"context"
	"fmt"

	"tahoe-go/internal/network/foolscap/banana"
)

// Object is something of ours that peers can call. It is sent by being an
// argument or a result, or found under its name once registered. What it holds
// must not change after that. An Object without methods is a canary: it says
// that its side is still there.
type Object struct {
	Iface   string             // the remote interface's name; may be empty
	Methods map[string]*Method // may be shared by many objects
	Self    any                // for the methods, as Call.Self
}

// Method is one that peers may call.
type Method struct {
	// Args are the arguments, in the order of the interface; peers may give
	// them by position or by name.
	Args []Arg
	// Do is called with arguments that fit their schemas. The context ends with
	// the connection. The result is a value of package banana, an *Object, or a
	// *Ref of the same connection. An error that is a *RemoteError goes to the
	// peer; of others it learns only that there was one.
	//
	// Calls to one object over one connection are done one after another, in
	// the order in which the peer made them. Calls over different connections
	// run at once.
	Do func(ctx context.Context, c *Call) (any, error)
	// Concurrent calls begin when they arrive and wait for no other.
	Concurrent bool
	// Limit bounds the arguments together, in bytes; zero is Limits.Call.
	Limit int64
}

// Arg is an argument.
type Arg struct {
	Name     string
	Schema   *banana.Schema
	Optional bool // nil if not given
}

// Call is a call that is being done. Its arguments, and what is inside them,
// belong to it until Do returns: bytes are to be copied and references to be
// held (Ref.Hold) by those who want them for longer. The typed methods panic if
// the schema of that argument is of another type.
type Call struct {
	Conn *Conn
	Self any // of the Object
	name string
	args []any
	done []func()
}

// Peer is the TubID of the caller.
func (c *Call) Peer() string { return c.Conn.peer }

// Value returns argument i; nil if it is None or was not given.
func (c *Call) Value(i int) any { return c.args[i] }

func arg[T any](c *Call, i int) T {
	v, ok := c.args[i].(T)
	if !ok {
		panic(fmt.Sprintf("foolscap: internal error: argument %d of %s is %T, not %T", i, c.name, c.args[i], v))
	}
	return v
}

// Bytes returns argument i, whose schema is Bytes or Fixed.
func (c *Call) Bytes(i int) []byte { return arg[[]byte](c, i) }

// Int returns argument i, whose schema is Int or Size.
func (c *Call) Int(i int) int64 { return arg[int64](c, i) }

// Text returns argument i, whose schema is Text.
func (c *Call) Text(i int) string { return arg[string](c, i) }

// Bool returns argument i, whose schema is Bool.
func (c *Call) Bool(i int) bool { return arg[bool](c, i) }

// List returns argument i, whose schema is ListOf.
func (c *Call) List(i int) banana.List { return arg[banana.List](c, i) }

// Set returns argument i, whose schema is SetOf.
func (c *Call) Set(i int) banana.Set { return arg[banana.Set](c, i) }

// Tuple returns argument i, whose schema is TupleOf.
func (c *Call) Tuple(i int) banana.Tuple { return arg[banana.Tuple](c, i) }

// Dict returns argument i, whose schema is DictOf.
func (c *Call) Dict(i int) banana.Dict { return arg[banana.Dict](c, i) }

// Ref returns argument i, whose schema is Reference, or nil if the peer gave
// one of our own objects.
func (c *Call) Ref(i int) *Ref {
	r, _ := c.args[i].(*Ref)
	return r
}

// Done has f called when the result has been encoded, so that buffers behind
// it can be used again, or when there will be none.
func (c *Call) Done(f func()) { c.done = append(c.done, f) }
