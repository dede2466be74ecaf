package foolscap

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/network/memnet"
)

// TestKeepalive: an idle connection stays, with a word now and then, and one
// over which nothing comes any more is dropped in time.
func TestKeepalive(t *testing.T) {
	bothRoles(t, func(r *rig, d, l int) {
		t := r.t
		alice, bob, ref := r.pair(d, l, Limits{Keepalive: time.Minute, Disconnect: 150 * time.Second}, Limits{Keepalive: -1}, echo)
		time.Sleep(time.Hour)
		if ref.conn.Err() != nil || time.Since(ref.conn.LastHeard()) > time.Minute {
			t.Fatalf("after an idle hour: %v, heard %v ago", ref.conn.Err(), time.Since(ref.conn.LastHeard()))
		}
		r.net.Partition("alice", "bob")
		start := time.Now()
		<-ref.Lost()
		if d := time.Since(start); !errors.Is(ref.conn.Err(), errSilent) || d > 150*time.Second {
			t.Errorf("lost after %v: %v", d, ref.conn.Err())
		}
		if len(bob.Conns()) != 1 || len(alice.Conns()) != 0 {
			t.Errorf("bob, who never asks, has %d connections", len(bob.Conns()))
		}
	})
}

// TestDefaults: without a word in the configuration, a dead connection is
// dropped within a quarter of an hour, by both sides.
func TestDefaults(t *testing.T) {
	bubble(t, func(r *rig) {
		alice, bob, _ := r.pair(0, 1, Limits{}, Limits{}, echo)
		r.net.Partition("alice", "bob")
		time.Sleep(15 * time.Minute)
		if len(alice.Conns())+len(bob.Conns()) != 0 {
			r.t.Error("a dead connection is still there")
		}
	})
}

// TestReconnect: the other side is away for a while, and comes back.
func TestReconnect(t *testing.T) {
	bothRoles(t, func(r *rig, d, l int) {
		t := r.t
		alice := r.tub("alice", d, Limits{})
		name := NewSwissnum()
		bob := r.tub("bob", l, Limits{})
		stop := r.listen("bob", bob)
		var ups, downs atomic.Int64
		k := alice.Keep(bob.Register(name, echo), KeepOptions{Up: func(ctx context.Context, ref *Ref) {
			if _, err := ref.Call(ctx, "echo", nil, 1); err == nil {
				ups.Add(1)
			}
			<-ctx.Done()
			downs.Add(1)
		}})
		time.Sleep(time.Second)
		s := k.Status()
		if s.State != Connected || s.Hint != "tcp:bob:4000" || s.Failures != 0 || s.LastErr != nil || k.Ref() == nil || ups.Load() != 1 {
			t.Fatalf("at first: %+v", s)
		}
		stop()
		time.Sleep(20 * time.Minute)
		s = k.Status()
		if s.State != Waiting || s.LastErr == nil || !strings.Contains(s.LastErr.Error(), "refused") || k.Ref() != nil || downs.Load() != 1 {
			t.Errorf("while bob is away: %+v", s)
		}
		if s.Failures < 8 || s.Failures > 14 {
			t.Errorf("%d tries in 20 minutes", s.Failures)
		}
		if in := time.Until(s.Next); in < 0 || in > longestWait*5/4 {
			t.Errorf("the next try is in %v", in)
		}
		bob = r.tub("bob", l, Limits{})
		bob.Register(name, echo)
		r.listen("bob", bob)
		k.Retry()
		time.Sleep(time.Second)
		if s := k.Status(); s.State != Connected || ups.Load() != 2 || s.LastErr != nil {
			t.Errorf("after Retry: %+v", s)
		}
		k.Stop()
		if s := k.Status(); s.State != Stopped || k.Ref() != nil || len(alice.Conns()) != 1 {
			t.Errorf("after Stop: %+v", s)
		}
	})
}

// TestReconnectWakes: a peer that cannot be dialled is found as soon as it
// connects to us; a wrong name is asked for ever more seldom.
func TestReconnectWakes(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		alice, bob := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{})
		r.listen("alice", alice)
		f := bob.Register(NewSwissnum(), echo)
		f.Hints = nil
		k := alice.Keep(f, KeepOptions{})
		wrong := f
		wrong.Swissnum = NewSwissnum()
		w := alice.Keep(wrong, KeepOptions{})
		time.Sleep(time.Hour)
		if s := k.Status(); s.State != Waiting || !errors.Is(s.LastErr, ErrNoHints) {
			t.Errorf("before: %+v", s)
		}
		if _, err := bob.Dial(t.Context(), alice.Register(NewSwissnum(), echo), DialOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s := k.Status(); s.State != Connected || !s.Inbound || s.Hint != "" {
			t.Errorf("after: %+v", s)
		}
		before := w.Status().Failures
		time.Sleep(time.Hour)
		if s := w.Status(); s.State != Waiting || s.Failures-before > 20 || !strings.Contains(s.LastErr.Error(), "unable to find") {
			t.Errorf("the wrong name: %+v", s)
		}
	})
}

// TestFlapping: connections that end at once are not made in a tight loop.
func TestFlapping(t *testing.T) {
	bubble(t, func(r *rig) {
		alice, bob := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{})
		r.listen("bob", bob)
		r.net.SetDefault(memnet.Link{CutAfter: 12 << 10})
		k := alice.Keep(bob.Register(NewSwissnum(), echo), KeepOptions{Up: func(ctx context.Context, ref *Ref) {
			ref.Call(ctx, "echo", nil, make([]byte, 64<<10))
		}})
		time.Sleep(time.Hour)
		if n := len(r.net.Dials()); n < 10 || n > 40 {
			r.t.Errorf("%d connections in an hour; %+v", n, k.Status())
		}
	})
}

// TestNoLeftovers: closing a Tub in any state leaves nothing running (the
// bubble would not end).
func TestNoLeftovers(t *testing.T) {
	for after := range 20 {
		bubble(t, func(r *rig) {
			alice, bob := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{})
			r.listen("bob", bob)
			k := alice.Keep(bob.Register(NewSwissnum(), echo), KeepOptions{})
			time.Sleep(time.Duration(after) * 3 * time.Millisecond)
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
			defer cancel()
			alice.Close(ctx)
			synctest.Wait()
			if s := k.Status(); s.State != Stopped {
				r.t.Errorf("after %d: %+v", after, s)
			}
			time.Sleep(10 * time.Second)
			if n := r.net.Open(); n != 0 || len(bob.Conns()) != 0 {
				r.t.Errorf("after %d: %d ends are open", after, n)
			}
		})
	}
}
