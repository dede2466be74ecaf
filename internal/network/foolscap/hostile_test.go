package foolscap

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
)

// intrude connects to bob by hand, through all of the negotiation.
func (r *rig) intrude(bob *Tub) *far {
	r.t.Helper()
	f := r.knock(bob.TubID()).secure(0)
	f.Write(goodHello(0).encode())
	if b, err := readBlock(f.r); err != nil || b["error"] != "" {
		r.t.Fatalf("decision %v, %v", b, err)
	}
	return f
}

// hostile has a Tub at bob that takes echo's calls, and one peer that behaves
// while another does not.
func hostile(t *testing.T, limits Limits, f func(r *rig, bob *Tub, eve *far)) {
	bubble(t, func(r *rig) {
		bob := r.tub("bob", 1, limits)
		r.listen("bob", bob)
		address := bob.Register(NewSwissnum(), echo)
		carol := r.tub("carol", 2, Limits{})
		ref, err := carol.Dial(r.t.Context(), address, DialOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		eve := r.intrude(bob)
		time.Sleep(time.Second)
		f(r, bob, eve)
		if got, err := ref.Call(r.t.Context(), "echo", nil, 1); got != int64(1) || err != nil {
			r.t.Errorf("the good peer: %v, %v", got, err)
		}
	})
}

// wire encodes messages by hand.
func wire(build func(e *banana.Encoder)) []byte {
	var e banana.Encoder
	build(&e)
	return e.Buf
}

// TestHostile: what ends a connection, and the reason that is told and logged.
func TestHostile(t *testing.T) {
	for _, tt := range []struct {
		name string
		send []byte
		want string
	}{
		{"nonsense", []byte("hello, is this an introducer?\xff"), "header is longer than 64 bits"},
		{"a token outside", []byte{0, banana.INT}, "outside of any sequence"},
		{"unknown token", []byte{0x8b}, "invalid token type"},
		{"endless header", bytes.Repeat([]byte{1}, 1000), "header is longer than 64 bits"},
		{"wrong close", wire(func(e *banana.Encoder) { e.Open("call"); e.Close(7) }), "not that of the innermost OPEN"},
		{"endless nesting", wire(func(e *banana.Encoder) {
			e.Open("call")
			for range 20_000 {
				e.Open("list")
			}
		}), "more than 10000 sequences"},
		{"endless tokens", wire(func(e *banana.Encoder) {
			e.Open("call")
			e.Int(1)
			e.Int(1)
			e.Bytes(bytes.Repeat([]byte("x"), 1000))
			e.Buf = append(e.Buf, bytes.Repeat([]byte{0, banana.OPEN, 0, banana.VOCAB, 0, banana.CLOSE}, 1<<20)...)
		}), "a refused message of more than"},
		{"a gigabyte", wire(func(e *banana.Encoder) { e.Open("answer"); e.Buf = append(e.Buf, 0, 0, 0, 0, 8, banana.STRING) }), "a refused message of more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hostile(t, Limits{Skip: 4 << 20}, func(r *rig, bob *Tub, eve *far) {
				go eve.Write(tt.send)
				said := eve.ends()
				time.Sleep(goodbye)
				if !strings.Contains(said, tt.want) {
					r.t.Errorf("it was told %q; want %q", said, tt.want)
				}
				if !strings.Contains(r.logs.String(), tt.want) || !strings.Contains(r.logs.String(), "level=INFO msg=\"dropped a connection\" peer="+short(testCert(t, 0).TubID())) {
					r.t.Errorf("the log does not say %q", tt.want)
				}
			})
		})
	}
}

// TestTooManyReferences: 10,000 references end the connection, in both
// directions of holding.
func TestTooManyReferences(t *testing.T) {
	obj := &Object{Methods: map[string]*Method{
		"hold": {Args: []Arg{{Name: "refs", Schema: banana.ListOf(banana.Reference(), 10_000)}}, Limit: 8 << 20, Do: func(_ context.Context, c *Call) (any, error) {
			for _, r := range c.List(0) {
				r.(*Ref).Hold()
			}
			return nil, nil
		}},
		"lend": {Do: func(context.Context, *Call) (any, error) { return &Object{}, nil }},
	}}
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		_, bob, ref := r.pair(0, 1, Limits{References: 100_000}, Limits{}, obj)
		var list banana.List
		for range 8000 {
			list = append(list, &Object{})
		}
		if _, err := ref.Call(ctx, "hold", nil, list); err != nil {
			t.Errorf("8000 references: %v", err)
		}
		for i := range list {
			list[i] = &Object{}
		}
		if _, err := ref.Call(ctx, "hold", nil, list); !errors.Is(err, ErrLost) {
			t.Errorf("16000 references: %v", err)
		}
		time.Sleep(goodbye)
		if !strings.Contains(r.logs.String(), errTooMany.Error()) || len(bob.Conns()) != 0 {
			t.Error("the connection was not dropped with a reason")
		}
	})
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		_, bob, ref := r.pair(0, 1, Limits{References: 100_000}, Limits{References: 100}, obj)
		var err error
		for range 99 {
			if _, err = ref.Call(ctx, "lend", nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err = ref.Call(ctx, "lend", nil); err == nil {
			t.Error("more objects were lent than allowed")
		}
		for range 1000 {
			ref.Call(ctx, "lend", nil)
		}
		if n := strings.Count(r.logs.String(), "level=WARN"); n == 0 || n > maxComplaints {
			t.Errorf("%d warnings of failed calls", n)
		}
		if n := count(bob.Conns()[0]).lent; n != 100 {
			t.Errorf("%d objects are lent", n)
		}
	})
}

// TestSilence: half of something and then nothing ends in bounded time.
func TestSilence(t *testing.T) {
	id := func() string { return testCert(t, 1).TubID() }
	for _, tt := range []struct {
		name  string
		do    func(r *rig)
		limit time.Duration
	}{
		{"no request", func(r *rig) {
			c, err := r.net.Host("eve").Dial(r.t.Context(), netx.Addr{Kind: netx.TCP, Host: "bob", Port: testPort})
			if err != nil {
				r.t.Fatal(err)
			}
			io.WriteString(c, "GET /id/")
		}, 46 * time.Second},
		{"no TLS", func(r *rig) { r.knock(id()) }, 91 * time.Second},
		{"half of TLS", func(r *rig) { r.knock(id()).Write([]byte{22, 3, 1, 1, 0}) }, 91 * time.Second},
		{"no hello", func(r *rig) { r.knock(id()).secure(0) }, 136 * time.Second},
		{"half a hello", func(r *rig) { r.knock(id()).secure(0).Write([]byte("my-tub-id: ")) }, 136 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				bob := r.tub("bob", 1, Limits{})
				r.listen("bob", bob)
				tt.do(r)
				time.Sleep(tt.limit)
				if negotiating(bob) != 0 {
					r.t.Errorf("after %v it is still waiting", tt.limit)
				}
			})
		})
	}
	t.Run("half a message", func(t *testing.T) {
		hostile(t, Limits{Disconnect: -1}, func(r *rig, bob *Tub, eve *far) {
			eve.Write(wire(func(e *banana.Encoder) { e.Open("call"); e.Int(1) }))
			start := time.Now()
			said := eve.ends()
			if d := time.Since(start); !strings.Contains(said, errStopped.Error()) || d > 3*time.Minute {
				r.t.Errorf("after %v it was told %q", d, said)
			}
		})
	})
}

func negotiating(t *Tub) int {
	t.half.mu.Lock()
	defer t.half.mu.Unlock()
	return t.half.list.Len()
}

// TestSlowMessage: a slow peer is not a silent one.
func TestSlowMessage(t *testing.T) {
	bubble(t, func(r *rig) {
		r.net.SetDefault(memnet.Link{Bandwidth: 1000})
		_, _, ref := r.pair(0, 1, Limits{}, Limits{Disconnect: -1, Keepalive: -1}, echo)
		b := make([]byte, 1<<20) // 17 minutes, each way
		if _, err := ref.Call(r.t.Context(), "echo", nil, b); err != nil {
			r.t.Error(err)
		}
	})
}

// TestNotReading: a peer that asks and does not read is dropped, having cost a
// bounded amount of memory.
func TestNotReading(t *testing.T) {
	ask := func(n int, method string, arg any) []byte {
		return wire(func(e *banana.Encoder) {
			for i := range n {
				encodeCall(e, int64(i+10), 1, method, []any{arg}, nil)
			}
		})
	}
	for _, tt := range []struct {
		name string
		more []byte
	}{
		{"big answers", ask(20, "echo", make([]byte, 1<<20))},
		{"small answers", ask(100_000, "nosuch", nil)},
		{"answers of the broker", wire(func(e *banana.Encoder) {
			for i := range 100_000 {
				encodeCall(e, int64(i+10), 0, "decref", []any{1000, 1}, nil)
			}
		})},
		{"pings", bytes.Repeat([]byte{1, 1, 1, 1, banana.PING}, 1<<20)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hostile(t, Limits{Keepalive: -1}, func(r *rig, bob *Tub, eve *far) {
				// Ask for the object first, so that there is something to call.
				bob.mu.Lock()
				evil := bob.conns[testCert(t, 0).TubID()]
				bob.mu.Unlock()
				evil.send(r.t.Context(), func(e *banana.Encoder) error { return encodeAnswer(e, 1, echo) })
				go eve.Write(tt.more)
				<-evil.Lost()
				if !errors.Is(evil.Err(), errNotReading) {
					r.t.Errorf("lost because %v", evil.Err())
				}
				evil.out.mu.Lock()
				defer evil.out.mu.Unlock()
				if n := cap(evil.out.enc.Buf); n > 8<<20 {
					r.t.Errorf("%d bytes wait", n)
				}
				if n := strings.Count(r.logs.String(), "\n"); n > 100 && !strings.Contains(tt.name, "small") {
					r.t.Errorf("%d lines in the log", n)
				}
			})
		})
	}
}

// TestMemory: however many peers send large arguments at once, all have a bound
// together; who finds no room is told, and keeps its connection.
func TestMemory(t *testing.T) {
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		gate := make(chan struct{})
		obj := &Object{Methods: map[string]*Method{"take": {
			Args: []Arg{{Name: "b", Schema: banana.Bytes(4 << 20)}}, Limit: 8 << 20, Concurrent: true,
			Do: func(context.Context, *Call) (any, error) { <-gate; return nil, nil },
		}, "list": {
			Args: []Arg{{Name: "b", Schema: banana.ListOf(banana.Bytes(64<<10), 100)}}, Limit: 8 << 20,
			Do: func(context.Context, *Call) (any, error) { return nil, nil },
		}}}
		const most = 6 << 20
		alice, bob, ref := r.pair(0, 1, Limits{}, Limits{Memory: most}, obj)
		carol := r.tub("carol", 2, Limits{})
		other, err := carol.Dial(ctx, bob.Register(NewSwissnum(), &Object{Methods: obj.Methods}), DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { _, err := ref.Call(ctx, "take", nil, make([]byte, 4<<20)); done <- err }()
		time.Sleep(time.Second)
		if n := bob.memory.Load(); n < 3<<20 || n > most {
			t.Errorf("%d bytes are counted", n)
		}
		small := make(chan error, 1)
		go func() { _, err := other.Call(ctx, "take", nil, make([]byte, 60<<10)); small <- err }()
		if _, err := other.Call(ctx, "take", nil, make([]byte, 4<<20)); !errors.Is(err, &RemoteError{Type: typeViolation}) || other.conn.Err() != nil {
			t.Errorf("without room: %v, the connection: %v", err, other.conn.Err())
		}
		var pieces banana.List // each of them small
		for range 100 {
			pieces = append(pieces, make([]byte, 60<<10))
		}
		if _, err := other.Call(ctx, "list", nil, pieces); !errors.Is(err, &RemoteError{Type: typeViolation}) {
			t.Errorf("many pieces without room: %v", err)
		}
		close(gate)
		for _, c := range []chan error{done, small} {
			if err := <-c; err != nil {
				t.Error(err)
			}
		}
		for range 5 { // what was refused has left nothing behind
			if _, err := other.Call(ctx, "take", nil, make([]byte, 4<<20)); err != nil {
				t.Errorf("with room again: %v", err)
			}
		}
		go ref.Call(ctx, "take", nil, make([]byte, 4<<20))
		alice.Conns()[0].end(io.EOF) // in the middle, perhaps
		time.Sleep(time.Minute)
		if n := bob.memory.Load(); n != 0 {
			t.Errorf("%d bytes are counted in the end", n)
		}
	})
}

// TestBackpressure: more calls than may be under way wait on the wire, not in
// memory, and all are done.
func TestBackpressure(t *testing.T) {
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		gate := make(chan struct{})
		obj := &Object{Methods: map[string]*Method{"wait": {
			Args: []Arg{{Name: "b", Schema: banana.Bytes(1 << 20)}}, Limit: 2 << 20, Concurrent: true,
			Do: func(context.Context, *Call) (any, error) { <-gate; return nil, nil },
		}}}
		_, bob, ref := r.pair(0, 1, Limits{Calls: 1000, CallBytes: 1 << 30}, Limits{Calls: 4, CallBytes: 2 << 20}, obj)
		done := make(chan error)
		for range 40 {
			go func() { _, err := ref.Call(ctx, "wait", nil, make([]byte, 1<<20)); done <- err }()
		}
		time.Sleep(time.Minute)
		in := &bob.Conns()[0].inbound
		underWay := func() (int, int64) {
			in.mu.Lock()
			defer in.mu.Unlock()
			return in.calls, in.bytes
		}
		if calls, bytes := underWay(); calls > 8 || bytes > 5<<20 {
			t.Errorf("%d calls with %d bytes are under way", calls, bytes)
		}
		close(gate)
		for range 40 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		if calls, bytes := underWay(); calls != 0 || bytes != 0 {
			t.Errorf("afterwards %d calls with %d bytes are under way", calls, bytes)
		}
	})
}

// TestBothWaysAtOnce: two Tubs that write to each other as fast as they can do
// not wait for each other for ever.
func TestBothWaysAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		small := Limits{CallBytes: 256 << 10}
		alice, bob, ref := r.pair(0, 1, small, small, echo)
		back, err := bob.Dial(ctx, alice.Register(NewSwissnum(), &Object{Methods: echo.Methods}), DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		const calls = 60
		block := make([]byte, 100<<10)
		done := make(chan error, 2*calls)
		for range calls {
			for _, to := range []*Ref{ref, back} {
				go func() {
					_, err := to.Call(ctx, "echo", banana.Into(make([]byte, len(block))), block)
					done <- err
				}()
			}
		}
		for range 2 * calls {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestHalfOpen: a thousand connections that do nothing do not slow a good
// one, and with more than may be the oldest go.
func TestHalfOpen(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		bob := r.tub("bob", 1, Limits{Half: 1000})
		r.listen("bob", bob)
		f := bob.Register(NewSwissnum(), echo)
		var idle []net.Conn
		for i := range 1500 {
			c, err := r.net.Host("eve").Dial(t.Context(), netx.Addr{Kind: netx.TCP, Host: "bob", Port: testPort})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "GET /id/%s HTTP/1.1\r\n", bob.TubID()[:i%30])
			idle = append(idle, c)
		}
		alice := r.tub("alice", 0, Limits{})
		start := time.Now()
		if _, err := alice.Dial(t.Context(), f, DialOptions{}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("a good peer took %v", d)
		}
		if n := negotiating(bob); n > 1000 {
			t.Errorf("%d are negotiating", n)
		}
		for _, c := range idle {
			c.Close()
		}
	})
}

// TestCrowd: with more peers than there may be, the one that was silent longest
// goes; those this side has dialled stay.
func TestCrowd(t *testing.T) {
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		alice, bob, carol := r.tub("alice", 0, Limits{Keepalive: -1}), r.tub("bob", 1, Limits{Peers: 1, Keepalive: -1}), r.tub("carol", 2, Limits{})
		r.listen("bob", bob)
		r.listen("carol", carol)
		f := bob.Register(NewSwissnum(), echo)
		a, err1 := alice.Dial(ctx, f, DialOptions{})
		c, err2 := carol.Dial(ctx, f, DialOptions{})
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		<-a.Lost()
		if cs := bob.Conns(); len(cs) != 1 || cs[0].Peer() != carol.TubID() || c.conn.Err() != nil {
			t.Errorf("connections %v", cs)
		}
		c.conn.Close()
		<-c.Lost()
		time.Sleep(time.Second)
		out, err := bob.Dial(ctx, carol.Register(NewSwissnum(), echo), DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.Dial(ctx, f, DialOptions{}); err != nil || out.conn.Err() != nil {
			t.Errorf("%v; the connection that was dialled: %v", err, out.conn.Err())
		}
		if !strings.Contains(r.logs.String(), errCrowded.Error()) {
			t.Error("not logged")
		}
	})
}

// TestIdleCost: a connection that does nothing takes little memory.
func TestIdleCost(t *testing.T) {
	const n = 200
	synctest.Test(t, func(t *testing.T) {
		tub := newTub(Config{}, identity{tubID: strings.Repeat("a", 32)})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var far []net.Conn
		for i := range n {
			near, f := net.Pipe()
			far = append(far, f)
			peer := fmt.Sprintf("peer%d", i)
			c := tub.newConn(&link{raw: near}, stream{near, newReader(near)}, peer)
			tub.mu.Lock()
			tub.attachLocked(c)
			tub.mu.Unlock()
			tub.tasks.Go(c.run)
		}
		synctest.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if got := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; got > 48<<10 {
			t.Errorf("%d bytes for an idle connection, TLS apart", got)
		}
		for _, f := range far {
			f.Close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		tub.Close(ctx)
	})
}

// FuzzConn: whatever a peer sends after the negotiation, its connection ends
// cleanly when it stops.
func FuzzConn(f *testing.F) {
	for _, name := range transcripts(f) {
		tr := readTranscript(f, name)
		var both [2][]byte
		for _, c := range tr.banana {
			i := 0
			if c.sent {
				i = 1
			}
			both[i] = append(both[i], c.data...)
		}
		f.Add(both[0])
		f.Add(both[1])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		tub := newTub(Config{}, identity{tubID: strings.Repeat("a", 32)})
		near, far := net.Pipe()
		c := tub.newConn(&link{raw: near}, stream{near, newReader(near)}, "peer")
		done := make(chan struct{})
		go func() { c.run(); close(done) }()
		go io.Copy(io.Discard, far)
		c.send(t.Context(), func(e *banana.Encoder) error { return encodeAnswer(e, 1, echo) })
		go c.call(c.ctx, 1, "x", nil, nil, nil)
		far.Write(in)
		far.Close()
		<-done
	})
}

// FuzzHello: whatever a peer says in the negotiation, it ends.
func FuzzHello(f *testing.F) {
	for _, name := range transcripts(f) {
		tr := readTranscript(f, name)
		for _, part := range [][]chunk{tr.plain, tr.hello} {
			for _, c := range part {
				f.Add(c.data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, play := range []func(*Tub, net.Conn){
			func(tub *Tub, c net.Conn) { tub.accept(t.Context(), &link{raw: c, stage: time.Minute}, nil) },
			func(tub *Tub, c net.Conn) {
				tub.open(t.Context(), &link{raw: c, stage: time.Minute, dialed: true, want: "b"}, "host")
			},
			func(tub *Tub, c net.Conn) {
				l := &link{raw: c, stage: time.Minute}
				if conn, err := tub.hello(l, stream{c, newReader(c)}, strings.Repeat("b", 32)); err == nil {
					conn.end(io.EOF)
				}
			},
			func(tub *Tub, c net.Conn) {
				l := &link{raw: c, stage: time.Minute, dialed: true, want: strings.Repeat("2", 32)}
				if conn, err := tub.hello(l, stream{c, newReader(c)}, strings.Repeat("2", 32)); err == nil {
					conn.end(io.EOF)
				}
			},
		} {
			tub := newTub(Config{}, identity{tubID: strings.Repeat("a", 32), tls: tlsConfig(tls.Certificate{})})
			near, far := net.Pipe()
			done := make(chan struct{})
			go func() { play(tub, near); near.Close(); close(done) }()
			go io.Copy(io.Discard, far)
			far.Write(in)
			far.Close()
			<-done
		}
	})
}
