package foolscap

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"tahoe-go/internal/network/foolscap/banana"
)

// maxComplaints is how many failed calls of one connection are worth a warning:
// a peer can make any number.
const maxComplaints = 10

// maxMethod bounds a method's or argument's name, in bytes.
const maxMethod = 200

// readCall reads the rest of a call and has it done. What is wrong with it is
// told to the caller, as soon as it is known who that is.
func (c *Conn) readCall() error {
	reqID, err := c.dec.Uint()
	if err != nil {
		return c.skip(err)
	}
	j := &job{conn: c, reqID: reqID, Call: Call{Conn: c}}
	err = c.readJob(j)
	if err == nil {
		err = c.dec.Close()
	}
	if err == nil {
		j.loans, j.reserved = c.dec.Loans(), c.takeReserved()
		j.refs = append(j.refs, c.message...)
		c.start(j)
		return nil
	}
	if j.entered {
		c.inbound.leave(j.cost)
	}
	if skipped := c.skip(err); skipped != nil {
		return skipped
	}
	if v, ok := errors.AsType[*banana.Violation](err); ok && reqID != 0 && !banana.IsAborted(err) {
		return c.sendNow(func(e *banana.Encoder) error {
			return encodeError(e, reqID, &RemoteError{Type: typeViolation, Value: v.Why})
		})
	}
	return nil
}

// job is a call of the peer.
type job struct {
	Call
	conn    *Conn
	reqID   int64
	target  *lent // nil for the broker
	method  *Method
	entered bool  // the gate
	cost    int64 // counted by the gate
	loans   [][]byte
	refs    []*Ref

	reserved int64 // memory
}

// readJob reads all but the number and the end.
func (c *Conn) readJob(j *job) error {
	v, err := c.dec.Value(banana.Int(-1<<31, 1<<31-1))
	if err != nil {
		return err
	}
	if j.name, err = c.dec.Word(maxMethod); err != nil {
		return err
	}
	if err := c.find(j, v.(int64)); err != nil {
		return err
	}
	// From here on memory is spent on it.
	if err := c.inbound.enter(c.ctx, c.Lost(), 0); err != nil {
		return err
	}
	j.entered = true
	limit := j.method.Limit
	if limit == 0 {
		limit = c.tub.limits.Call
	}
	c.dec.Continue(limit, true)
	if err := c.readArgs(j); err != nil {
		return err
	}
	j.cost = limit - c.dec.Budget()
	c.inbound.add(j.cost)
	return nil
}

// find looks up what is called.
func (c *Conn) find(j *job, clid int64) error {
	if clid == 0 {
		j.method = brokerMethods[j.name]
		if j.method == nil {
			return &banana.Violation{Why: "a method that the broker does not have"}
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	j.target = c.lent[clid]
	if j.target == nil {
		return &banana.Violation{Why: fmt.Sprintf("unknown CLID %d", clid)}
	}
	j.method = j.target.obj.Methods[j.name]
	if j.method == nil {
		return &banana.Violation{Why: fmt.Sprintf("method %.100q is not defined in %q", j.name, j.target.obj.Iface)}
	}
	j.Self = j.target.obj.Self
	return nil
}

// readArgs reads the sequence of arguments.
func (c *Conn) readArgs(j *job) error {
	opentype, err := c.dec.Open()
	if err != nil {
		return err
	}
	if opentype != "arguments" {
		return &banana.Violation{Why: "no arguments where they belong"}
	}
	positional, err := c.dec.Uint()
	if err != nil {
		return err
	}
	args := j.method.Args
	if positional > int64(len(args)) {
		return &banana.Violation{Why: fmt.Sprintf("%d arguments, where %s takes %d", positional, j.name, len(args))}
	}
	j.args = make([]any, len(args))
	given := make([]bool, len(args))
	for i := range int(positional) {
		if err := c.readArg(j, i); err != nil {
			return err
		}
		given[i] = true
	}
	for {
		more, err := c.dec.More()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		i, err := c.argNamed(args)
		if err != nil {
			return err
		}
		if given[i] {
			return &banana.Violation{Why: fmt.Sprintf("argument %s is given twice", args[i].Name)}
		}
		if err := c.readArg(j, i); err != nil {
			return err
		}
		given[i] = true
	}
	for i, a := range args {
		if !given[i] && !a.Optional {
			return &banana.Violation{Why: fmt.Sprintf("argument %s is missing", a.Name)}
		}
	}
	return c.dec.Close()
}

func (c *Conn) readArg(j *job, i int) error {
	v, err := c.dec.Value(j.method.Args[i].Schema)
	if v, ok := errors.AsType[*banana.Violation](err); ok && !banana.IsAborted(err) {
		return &banana.Violation{Why: fmt.Sprintf("argument %s of %s: %s", j.method.Args[i].Name, j.name, v.Why)}
	}
	j.args[i] = v
	return err
}

func (c *Conn) argNamed(args []Arg) (int, error) {
	name, err := c.dec.Word(maxMethod)
	if err != nil {
		return 0, err
	}
	for i, a := range args {
		if a.Name == name {
			return i, nil
		}
	}
	return 0, &banana.Violation{Why: fmt.Sprintf("unknown argument %.100q", name)}
}

// start has a job done: by the reader itself if it is the broker's, which only
// looks things up; at once if it may be; or after those before it.
func (c *Conn) start(j *job) {
	switch {
	case j.target == nil:
		c.do(j)
	case j.method.Concurrent:
		c.tasks.Go(func() { c.do(j) })
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		j.target.queue = append(j.target.queue, func() { c.do(j) }) // bounded by the gate
		if !j.target.busy {
			j.target.busy = true
			c.tasks.Go(func() { c.drain(j.target) })
		}
	}
}

// drain does the calls to one object.
func (c *Conn) drain(l *lent) {
	for {
		c.mu.Lock()
		if len(l.queue) == 0 {
			l.busy = false
			c.mu.Unlock()
			return
		}
		next := l.queue[0]
		l.queue = l.queue[1:]
		c.mu.Unlock()
		next()
	}
}

// do does a job, answers, and takes back what was on loan.
func (c *Conn) do(j *job) {
	v, err := c.invoke(j)
	c.answer(j, v, err)
	for _, f := range j.done {
		f()
	}
	for _, r := range j.refs {
		r.Release()
	}
	for _, b := range j.loans {
		banana.PutBuffer(b)
	}
	c.tub.memory.Add(-j.reserved)
	c.inbound.leave(j.cost)
}

// invoke calls the method. A panic in it is a bug of this program, which must
// not become a way for peers to stop it.
func (c *Conn) invoke(j *job) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a method panicked", "method", j.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("internal error")
		}
	}()
	if c.ctx.Err() != nil {
		return nil, c.Err()
	}
	return j.method.Do(c.ctx, &j.Call)
}

// answer sends the outcome of a job.
func (c *Conn) answer(j *job, v any, err error) {
	if j.reqID == 0 {
		return
	}
	send := func(build func(e *banana.Encoder) error) error { return c.send(c.ctx, build) }
	if j.target == nil {
		send = c.sendNow // by the reader
	}
	if err == nil {
		err = send(func(e *banana.Encoder) error { return encodeAnswer(e, j.reqID, v) })
	}
	if err == nil || c.ctx.Err() != nil {
		return
	}
	if errors.Is(err, errNotReading) {
		c.end(err)
		return
	}
	remote, ok := errors.AsType[*RemoteError](err)
	if !ok {
		level := slog.LevelWarn
		if c.complaints.Add(1) > maxComplaints {
			level = slog.LevelDebug
		}
		c.log.Log(c.ctx, level, "a call of a peer failed", "method", j.name, "err", err)
		remote = &RemoteError{Type: typeException, Value: "internal error"}
	}
	err = send(func(e *banana.Encoder) error { return encodeError(e, j.reqID, remote) })
	if errors.Is(err, errNotReading) {
		c.end(err)
	}
}

func encodeAnswer(e *banana.Encoder, reqID int64, v any) error {
	n := e.Open("answer")
	e.Int(reqID)
	if err := e.Value(v); err != nil {
		return err
	}
	e.Close(n)
	return nil
}

// encodeError sends what Python's peers expect of an exception. In place of a
// traceback, which is all they show to people, stands what the error says.
func encodeError(e *banana.Encoder, reqID int64, err *RemoteError) error {
	parents := err.Parents
	if len(parents) == 0 {
		parents = []string{err.Type, typeException, "builtins.BaseException", "builtins.object"}
	}
	var list banana.List
	for _, p := range parents {
		list = append(list, cut(p, 200))
	}
	n := e.Open("error")
	e.Int(reqID)
	if err := e.Value(banana.Copyable{Class: failureClass, Attrs: banana.Dict{
		{Key: []byte("value"), Value: cut(err.Value, 1000)},
		{Key: []byte("type"), Value: cut(err.Type, 200)},
		{Key: []byte("traceback"), Value: cut("no traceback; "+err.Type+": "+err.Value+"\n", 1500)},
		{Key: []byte("parents"), Value: list},
	}}); err != nil {
		return err
	}
	e.Close(n)
	return nil
}

// cut shortens as Foolscap does.
func cut(s string, n int) []byte {
	if len(s) > n {
		s = s[:n-3] + ".."
	}
	return []byte(s)
}
