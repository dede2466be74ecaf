package foolscap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/network/memnet"
)

func TestCall(t *testing.T) {
	bothRoles(t, func(r *rig, d, l int) {
		_, _, ref := r.pair(d, l, Limits{}, Limits{}, echo)
		t, ctx := r.t, r.t.Context()
		if ref.Iface() != "RIEcho.test" || ref.Peer() != testCert(t, l).TubID() {
			t.Errorf("reference to %q at %s", ref.Iface(), ref.Peer())
		}
		for _, v := range []any{nil, true, int64(1) << 40, []byte("x"), "é", banana.Dict{{Key: []byte("k"), Value: banana.List{1.5}}}} {
			got, err := ref.Call(ctx, "echo", nil, v)
			if diff := cmp.Diff(v, got); err != nil || diff != "" {
				t.Errorf("echo: %v (-want +got):\n%.300s", err, diff)
			}
		}
		big := bytes.Repeat([]byte{7}, 3<<20)
		if got, err := ref.Call(ctx, "echo", nil, big); err != nil || !bytes.Equal(got.([]byte), big) {
			t.Errorf("3 MiB: %v", err)
		}
		buf := make([]byte, 2<<20)
		want := bytes.Repeat([]byte("ab"), 600_000)
		got, err := ref.Call(ctx, "echo", banana.Into(buf), want)
		if err != nil || !bytes.Equal(got.([]byte), want) || &buf[0] != &got.([]byte)[0] {
			t.Errorf("into a buffer: %v", err)
		}
		if err := ref.Send(ctx, "fail"); err != nil { // no answer, so nothing comes of it
			t.Error(err)
		}
		if got, err := ref.Call(ctx, "typed", nil, []byte("abcd"), 5); err != nil || !cmp.Equal(got, banana.List{[]byte("abcd"), int64(5), nil}) {
			t.Errorf("typed: %v, %v", got, err)
		}
		named := []banana.Pair{{Key: "c", Value: true}, {Key: "b", Value: 1}}
		if got, err := ref.conn.call(ctx, ref.to.clid, "typed", nil, []any{[]byte{}}, named); err != nil || !cmp.Equal(got, banana.List{[]byte{}, int64(1), true}) {
			t.Errorf("by name: %v, %v", got, err)
		}
	})
}

// TestCallErrors: what is wrong with one call is that call's own affair.
func TestCallErrors(t *testing.T) {
	bubble(t, func(r *rig) {
		_, _, ref := r.pair(0, 1, Limits{}, Limits{}, echo)
		t, ctx := r.t, r.t.Context()
		for _, tt := range []struct {
			method, want string
			args         []any
			result       *banana.Schema
		}{
			{method: "fail", want: `tests.Sad: "no"`},
			{method: "hide", want: `"internal error"`},
			{method: "panic", want: `"internal error"`},
			{method: "struct", want: `"internal error"`},
			{method: "nosuch", want: `method \"nosuch\" is not defined in \"RIEcho.test\"`},
			{method: strings.Repeat("x", 300), want: "300, of which 200 are allowed"},
			{method: "typed", want: "argument a is missing"},
			{method: "typed", want: "argument b is missing", args: []any{[]byte("x")}},
			{method: "typed", want: "4 arguments, where typed takes 3", args: []any{1, 2, 3, 4}},
			{method: "typed", want: "argument a of typed: text where bytes belongs", args: []any{"text", 1}},
			{method: "typed", want: "argument a of typed: bytes: 5, of which 4", args: []any{[]byte("12345"), 1}},
			{method: "echo", want: "larger than this call may be", args: []any{make([]byte, 9<<20)}},
			{method: "echo", want: "more than 1 values", args: []any{banana.List{1, 2}}, result: banana.ListOf(banana.Any(), 1)},
			{method: "echo", want: "cannot send a struct", args: []any{struct{}{}}},
		} {
			if _, err := ref.Call(ctx, tt.method, tt.result, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%.20s: %v; want %q", tt.method, err, tt.want)
			}
			if got, err := ref.Call(ctx, "echo", nil, 1); err != nil || got != int64(1) {
				t.Fatalf("the next call: %v, %v", got, err)
			}
		}
		for name, want := range map[string]string{"a": "argument a is given twice", "zzz": "unknown argument"} {
			_, err := ref.conn.call(ctx, ref.to.clid, "typed", nil, []any{[]byte("x"), 1}, []banana.Pair{{Key: name, Value: []byte("y")}})
			if re, ok := errors.AsType[*RemoteError](err); !ok || re.Type != typeViolation || !strings.Contains(re.Value, want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := ref.conn.call(ctx, 99, "echo", nil, nil, nil)
		if err == nil || !strings.Contains(err.Error(), "unknown CLID 99") {
			t.Errorf("unknown object: %v", err)
		}
		_, err = ref.Call(ctx, "fail", nil)
		for _, tt := range []struct {
			class string
			want  bool
		}{{"tests.Sad", true}, {"tests.Mood", true}, {"tests.Happy", false}} {
			if got := errors.Is(err, &RemoteError{Type: tt.class}); got != tt.want {
				t.Errorf("Is %s = %v", tt.class, got)
			}
		}
		for range 300 { // more than may be under way
			_, err := ref.Call(ctx, "typed", nil, "text")
			if _, ok := errors.AsType[*RemoteError](err); !ok {
				t.Fatalf("text for bytes: %v", err)
			}
		}
		if !strings.Contains(r.logs.String(), "panicked") {
			t.Error("the panic was not logged")
		}
	})
}

// TestReferences go both ways, come home as what they were, and are forgotten
// on both sides when released.
func TestReferences(t *testing.T) {
	bothRoles(t, func(r *rig, d, l int) {
		t, ctx := r.t, r.t.Context()
		var kept []*Ref
		obj := &Object{Iface: "RIKeeper.test", Methods: map[string]*Method{
			"keep": {Args: []Arg{{Name: "r", Schema: banana.Reference()}}, Do: func(_ context.Context, c *Call) (any, error) {
				kept = append(kept, c.Ref(0).Hold())
				return c.Ref(0), nil
			}},
			"use": {Args: []Arg{{Name: "r", Schema: banana.Reference()}}, Do: func(ctx context.Context, c *Call) (any, error) {
				return c.Ref(0).Call(ctx, "echo", nil, 7)
			}},
			"make": {Do: func(context.Context, *Call) (any, error) {
				return banana.List{&Object{}, &Object{}}, nil
			}},
		}}
		_, bob, ref := r.pair(d, l, Limits{}, Limits{}, obj)
		alices, bobs := ref.conn, bob.Conns()[0]
		for range 2 {
			if got, err := ref.Call(ctx, "use", nil, echo); got != int64(7) || err != nil {
				t.Errorf("calling back: %v, %v", got, err)
			}
			if got, err := ref.Call(ctx, "keep", nil, echo); got != any(echo) || err != nil {
				t.Errorf("came home as %v, %v", got, err)
			}
		}
		if len(kept) != 2 || kept[0].Iface() != "RIEcho.test" || kept[1].to != kept[0].to {
			t.Errorf("kept %v", kept)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if n := count(alices).lent; n != 1 {
			t.Errorf("alice lends %d objects", n)
		}
		for _, k := range kept {
			k.Release()
			k.Release()
		}
		time.Sleep(time.Second)
		if a, b := count(alices), count(bobs); a.lent != 0 || b.held != 0 {
			t.Errorf("after release alice has %+v and bob %+v", a, b)
		}
		v, err := ref.Call(ctx, "make", banana.ListOf(banana.Reference(), 2))
		if err != nil {
			t.Fatal(err)
		}
		if n := count(bobs).lent; n != 3 {
			t.Errorf("bob lent %d", n)
		}
		for _, r := range v.(banana.List) {
			r.(*Ref).Release()
		}
		ref.Release()
		time.Sleep(time.Second)
		if a, b := count(alices), count(bobs); a != (counts{}) || b != (counts{}) {
			t.Errorf("in the end alice has %+v and bob %+v", a, b)
		}
		// A reference that comes again before the release is answered.
		a, err1 := alices.lookup(ctx, bob.nameOf[obj])
		a.Release()
		b, err2 := alices.lookup(ctx, bob.nameOf[obj])
		if err1 != nil || err2 != nil || b.Iface() != obj.Iface {
			t.Errorf("after a release: %v %v %v", b, err1, err2)
		}
	})
}

// TestReferencesInVain: those in messages that are not sent, or refused, are
// let go.
func TestReferencesInVain(t *testing.T) {
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		_, bob, ref := r.pair(0, 1, Limits{}, Limits{}, echo)
		if _, err := ref.Call(ctx, "echo", nil, banana.List{&Object{}, struct{}{}}); err == nil {
			t.Error("a struct was sent")
		}
		if n := count(ref.conn).lent; n != 0 {
			t.Errorf("%d objects are lent by a call that was not made", n)
		}
		canary := &Object{}
		_, err := ref.Call(ctx, "echo", nil, banana.List{canary, banana.Dict{{Key: banana.List{}, Value: 1}}})
		if re, ok := errors.AsType[*RemoteError](err); !ok || re.Type != typeViolation {
			t.Errorf("got %v", err)
		}
		_, err = ref.Call(ctx, "echo", banana.ListOf(banana.None(), 2), banana.List{nil, &Object{}})
		if _, ok := errors.AsType[*banana.Violation](err); !ok {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Second)
		if a, b := count(ref.conn), count(bob.Conns()[0]); a.lent != 0 || b.held != 0 || b.lent != 1 {
			t.Errorf("alice has %+v, bob %+v", a, b)
		}
	})
}

// TestReferenceOnWire: the interface and the address go with an object once,
// and an address of another Tub is refused.
func TestReferenceOnWire(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		bob := r.tub("bob", 1, Limits{})
		r.listen("bob", bob)
		eve := r.intrude(bob)
		time.Sleep(time.Second)
		c := bob.Conns()[0]
		f := bob.Register(NewSwissnum(), echo)
		ours := wire(func(e *banana.Encoder) {
			for i := range 2 {
				n := e.Open("answer")
				e.Int(int64(i + 1))
				ref := e.Open("my-reference")
				e.Int(1)
				if i == 0 {
					e.Bytes([]byte(echo.Iface))
					e.Bytes([]byte(f.Reveal()))
				}
				e.Close(ref)
				e.Close(n)
			}
		})
		for i := range 2 {
			c.send(t.Context(), func(e *banana.Encoder) error { return encodeAnswer(e, int64(i+1), echo) })
		}
		expect(t, eve.r, "two references", ours)

		foreign := f
		foreign.TubID = strings.Repeat("a", 32)
		done := make(chan error)
		go func() { _, err := c.call(t.Context(), 1, "x", nil, nil, nil); done <- err }()
		time.Sleep(time.Second)
		eve.Write(wire(func(e *banana.Encoder) {
			n := e.Open("answer")
			e.Int(1)
			ref := e.Open("my-reference")
			e.Int(7)
			e.Bytes(nil)
			e.Bytes([]byte(foreign.Reveal()))
			e.Close(ref)
			e.Close(n)
		}))
		if err := <-done; err == nil || !strings.Contains(err.Error(), "another Tub") {
			t.Errorf("got %v", err)
		}
	})
}

// TestThirdParty: a reference is good on its own connection only.
func TestThirdParty(t *testing.T) {
	bubble(t, func(r *rig) {
		alice, _, ref := r.pair(0, 1, Limits{}, Limits{}, echo)
		carol := r.tub("carol", 2, Limits{})
		r.listen("carol", carol)
		other, err := alice.Dial(r.t.Context(), carol.Register(NewSwissnum(), echo), DialOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := other.Call(r.t.Context(), "echo", nil, ref); err == nil || !strings.Contains(err.Error(), "third party") {
			r.t.Errorf("a gift was sent: %v", err)
		}
		if n := len(alice.Conns()); n != 2 {
			r.t.Errorf("%d connections", n)
		}
	})
}

// TestOrder: calls to one object are done one after another in the order of
// the caller; concurrent ones at once.
func TestOrder(t *testing.T) {
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		var order []int64
		var now, most atomic.Int64
		obj := &Object{Methods: map[string]*Method{
			"next": {Args: []Arg{{Name: "i", Schema: banana.Size()}}, Do: func(_ context.Context, c *Call) (any, error) {
				i := c.Int(0)
				time.Sleep(time.Duration(10-i) * time.Second)
				order = append(order, i)
				return nil, nil
			}},
			"join": {Concurrent: true, Do: func(context.Context, *Call) (any, error) {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				now.Add(-1)
				return nil, nil
			}},
		}}
		_, _, ref := r.pair(0, 1, Limits{}, Limits{}, obj)
		done := make(chan error)
		for i := range 10 {
			go func() { _, err := ref.Call(ctx, "next", nil, i); done <- err }()
			synctest.Wait()
		}
		start := time.Now()
		for range 20 {
			go func() { _, err := ref.Call(ctx, "join", nil); done <- err }()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(start); d > 2*time.Second || most.Load() != 20 {
			t.Errorf("20 concurrent calls took %v, %d at once", d, most.Load())
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff([]int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order); diff != "" {
			t.Error(diff)
		}
	})
}

// TestCancel: a call that is given up returns at once, whatever the peer and
// the network do, and what its answer holds is let go.
func TestCancel(t *testing.T) {
	slow := &Object{Methods: map[string]*Method{
		"slow": {Concurrent: true, Do: func(ctx context.Context, c *Call) (any, error) {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
			}
			return banana.List{&Object{}, []byte("late")}, nil
		}},
		"bytes": {Concurrent: true, Do: func(context.Context, *Call) (any, error) { time.Sleep(10 * time.Second); return []byte("late"), nil }},
		"take": {Args: []Arg{{Name: "b", Schema: banana.Bytes(2 << 20)}}, Limit: 3 << 20, Do: func(_ context.Context, c *Call) (any, error) {
			return c.Bytes(0), nil
		}},
	}}
	bubble(t, func(r *rig) {
		t := r.t
		_, bob, ref := r.pair(0, 1, Limits{}, Limits{}, slow)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := ref.Call(ctx, "slow", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		buf := []byte("mine")
		late, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, err := ref.Call(late, "bytes", banana.Into(buf)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		if string(buf) != "mine" {
			t.Errorf("an answer was written to a buffer after the call: %q", buf)
		}
		if n := count(bob.Conns()[0]).lent; n != 1 {
			t.Errorf("bob still lends %d objects; want that which was dialled", n)
		}
		if n := count(ref.conn); n.waiting != 0 || n.dropped != 0 {
			t.Errorf("calls wait: %+v", n)
		}
	})
	bubble(t, func(r *rig) { // the network stands still with much to write
		t := r.t
		_, _, ref := r.pair(0, 1, Limits{}, Limits{}, slow)
		r.net.Partition("alice", "bob")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		block := make([]byte, 2<<20)
		errs := make(chan error)
		for range 6 {
			go func() { _, err := ref.Call(ctx, "take", banana.Into(block), block); errs <- err }()
		}
		for range 6 {
			if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("given up after %v", d)
		}
		r.net.Heal("alice", "bob")
		if _, err := ref.Call(t.Context(), "take", nil, block); err != nil {
			t.Errorf("after that: %v", err)
		}
	})
}

// TestNoAnswers: a peer that answers no call is given up, though it is there.
func TestNoAnswers(t *testing.T) {
	bubble(t, func(r *rig) {
		hang := &Object{Methods: map[string]*Method{"hang": {Concurrent: true, Do: func(ctx context.Context, _ *Call) (any, error) {
			<-ctx.Done()
			return nil, nil
		}}}}
		_, _, ref := r.pair(0, 1, Limits{Calls: 10}, Limits{}, hang)
		for range 9 {
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
			if _, err := ref.Call(ctx, "hang", nil); !errors.Is(err, context.DeadlineExceeded) {
				r.t.Error(err)
			}
			cancel()
		}
		if ref.conn.Err() != nil {
			r.t.Fatal("given up too early")
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
		defer cancel()
		ref.Call(ctx, "hang", nil)
		if !errors.Is(ref.conn.Err(), errNoAnswers) {
			r.t.Errorf("got %v", ref.conn.Err())
		}
	})
}

// TestLost: what waits when the connection ends learns of it, and why.
func TestLost(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		var ended atomic.Bool
		hang := &Object{Methods: map[string]*Method{"hang": {Do: func(ctx context.Context, c *Call) (any, error) {
			<-ctx.Done()
			ended.Store(true)
			return nil, ctx.Err()
		}}}}
		alice, bob, ref := r.pair(0, 1, Limits{}, Limits{}, hang)
		var heard atomic.Int64
		ref.OnLost(func() { heard.Add(1) })
		stop := ref.OnLost(func() { heard.Add(100) })
		if !stop() {
			t.Error("too late to undo OnLost")
		}
		errs := make(chan error)
		go func() { _, err := ref.Call(t.Context(), "hang", nil); errs <- err }()
		time.Sleep(time.Second)
		r.net.Cut("alice", "bob")
		if err := <-errs; !errors.Is(err, ErrLost) {
			t.Errorf("got %v; want ErrLost", err)
		}
		<-ref.Lost()
		time.Sleep(time.Second)
		if !ended.Load() || heard.Load() != 1 {
			t.Errorf("the method ended: %v; heard: %d", ended.Load(), heard.Load())
		}
		if _, err := ref.Call(t.Context(), "hang", nil); !errors.Is(err, ErrLost) {
			t.Errorf("a later call: %v", err)
		}
		if len(alice.Conns())+len(bob.Conns()) != 0 {
			t.Error("the connection is still there")
		}
	})
}

// TestClose: what was said before Close arrives.
func TestClose(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.net.SetDefault(memnet.Link{Latency: 50 * time.Millisecond, Bandwidth: 1 << 20})
		got := make(chan int, 1)
		obj := &Object{Methods: map[string]*Method{"take": {Args: []Arg{{Name: "b", Schema: banana.Bytes(1 << 20)}}, Limit: 2 << 20, Do: func(_ context.Context, c *Call) (any, error) {
			got <- len(c.Bytes(0))
			return nil, nil
		}}}}
		alice, bob, ref := r.pair(0, 1, Limits{}, Limits{}, obj)
		if err := ref.Send(t.Context(), "take", make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		alice.Close(ctx)
		if ctx.Err() != nil {
			t.Error("Close took all its time")
		}
		if n := <-got; n != 1<<20 {
			t.Errorf("%d bytes arrived", n)
		}
		time.Sleep(time.Second)
		if len(bob.Conns()) != 0 {
			t.Error("bob is still connected")
		}
		if _, err := ref.Call(t.Context(), "take", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := alice.Dial(t.Context(), bob.Register(NewSwissnum(), echo), DialOptions{}); !errors.Is(err, ErrClosed) {
			t.Errorf("dialling after Close: %v", err)
		}
	})
}

// TestSelf: a Tub can use its own objects by their addresses.
func TestSelf(t *testing.T) {
	bubble(t, func(r *rig) {
		alice := r.tub("alice", 0, Limits{})
		ref, err := alice.Dial(r.t.Context(), alice.Register(NewSwissnum(), echo), DialOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		big := make([]byte, 1<<20)
		if got, err := ref.Call(r.t.Context(), "echo", nil, big); err != nil || !bytes.Equal(got.([]byte), big) {
			r.t.Errorf("%v", err)
		}
	})
}

// TestNames: an unknown name is refused in Foolscap's words, and an
// unregistered one is unknown.
func TestNames(t *testing.T) {
	bubble(t, func(r *rig) {
		alice, bob, _ := r.pair(0, 1, Limits{}, Limits{}, echo)
		name := NewSwissnum()
		obj := &Object{}
		f := bob.Register(name, obj)
		if _, err := alice.Dial(r.t.Context(), f, DialOptions{}); err != nil {
			r.t.Error(err)
		}
		again := NewSwissnum()
		bob.Register(again, obj) // only the last name counts
		other := bob.Register(name, &Object{Iface: "other"})
		if ref, err := alice.Dial(r.t.Context(), other, DialOptions{}); err != nil || ref.Iface() != "other" {
			r.t.Errorf("under the same name: %v, %v", ref, err)
		}
		bob.Unregister(bob.named(name))
		if got := bob.named(again); got != obj {
			r.t.Errorf("%v is under the other name", got)
		}
		_, err := alice.Dial(r.t.Context(), f, DialOptions{})
		want := fmt.Sprintf("unable to find reference for name starting with '%s'", name.Reveal()[:2])
		if !errors.Is(err, &RemoteError{Type: "builtins.LookupError"}) || !strings.Contains(err.Error(), want) {
			r.t.Errorf("got %v; want %s", err, want)
		}
		if strings.Contains(r.logs.String(), name.Reveal()[:8]) {
			r.t.Error("a swissnum was logged")
		}
	})
}
