package foolscap

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/network/foolscap/banana"
)

// TestKeep: the master's judgement on an offer while it has a connection.
func TestKeep(t *testing.T) {
	tub := newTub(Config{}, identity{tubID: "m", incarnation: "master"})
	old := &Conn{slave: "slave", seq: 5}
	for _, tt := range []struct {
		name string
		b    block
		keep bool
	}{
		{"a peer older than this", block{}, true},
		{"no record", block{"my-incarnation": "slave"}, true},
		{"a restarted peer", block{"my-incarnation": "slave2", "last-connection": "none 0"}, false},
		{"a second hint", block{"my-incarnation": "slave", "last-connection": "none 0"}, true},
		{"a peer of our past life", block{"my-incarnation": "slave", "last-connection": "master0 9"}, false},
		{"a peer that lost this very connection", block{"my-incarnation": "slave", "last-connection": "master 5"}, false},
		{"a second hint, later in life", block{"my-incarnation": "slave", "last-connection": "master 4"}, true},
		{"from the future", block{"my-incarnation": "slave", "last-connection": "master 6"}, true},
		{"nonsense", block{"my-incarnation": "slave", "last-connection": "master five"}, true},
	} {
		if why := tub.keep(old, tt.b); (why != "") != tt.keep {
			t.Errorf("%s: kept because %q; want kept %v", tt.name, why, tt.keep)
		}
	}
}

// TestDuplicate: the peer offers another connection while there is one.
func TestDuplicate(t *testing.T) {
	for _, tt := range []struct {
		name        string
		incarnation string
		last        func(first record) string
		replaced    bool
	}{
		{"second hint", "0123456789abcdef", func(record) string { return "none 0" }, false},
		{"stale", "0123456789abcdef", func(first record) string { return first.String() }, true},
		{"restarted", "fedcba9876543210", func(record) string { return "none 0" }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				bob := r.tub("bob", 1, Limits{})
				r.listen("bob", bob)
				one := r.knock(bob.TubID()).secure(0)
				one.Write(goodHello(0).encode())
				b, err := readBlock(one.r)
				first, ok := parseRecord(b["current-connection"])
				if err != nil || !ok || first.seq != 1 {
					r.t.Fatalf("decision %v, %v", b, err)
				}
				time.Sleep(time.Second)
				was := bob.Conns()[0]

				h := goodHello(0)
				h["my-incarnation"], h["last-connection"] = tt.incarnation, tt.last(first)
				two := r.knock(bob.TubID()).secure(0)
				two.Write(h.encode())
				b, err = readBlock(two.r)
				if err != nil {
					r.t.Fatal(err)
				}
				time.Sleep(time.Second)
				now := bob.Conns()
				if len(now) != 1 {
					r.t.Fatalf("%d connections", len(now))
				}
				if !tt.replaced {
					if b["error"] != "Duplicate connection" || now[0] != was || was.Err() != nil {
						r.t.Errorf("got %v, %v", b, was.Err())
					}
					return
				}
				if b["current-connection"] != bob.id.incarnation+" 2" || now[0] == was || !errors.Is(was.Err(), errReplaced) {
					r.t.Errorf("got %v; the old one: %v", b, was.Err())
				}
				one.ends()
			})
		})
	}
}

// TestCrossing: both sides dial at once, and in the end one connection serves
// both, and stays.
func TestCrossing(t *testing.T) {
	for offset := range 8 {
		t.Run(fmt.Sprintf("%d ms apart", 5*offset), func(t *testing.T) {
			bothRoles(t, func(r *rig, d, l int) {
				alice, bob := r.tub("alice", d, Limits{}), r.tub("bob", l, Limits{})
				r.listen("alice", alice)
				r.listen("bob", bob)
				up := func(tub *Tub, other *Tub) *Reconnector {
					return tub.Keep(other.Register(NewSwissnum(), echo), KeepOptions{})
				}
				a := up(alice, bob)
				time.Sleep(time.Duration(5*offset) * time.Millisecond)
				b := up(bob, alice)
				time.Sleep(time.Minute)
				ca, cb := alice.Conns(), bob.Conns()
				if len(ca) != 1 || len(cb) != 1 || a.Status().State != Connected || b.Status().State != Connected {
					r.t.Fatalf("%d and %d connections; %+v, %+v", len(ca), len(cb), a.Status(), b.Status())
				}
				since := ca[0].Info().Since
				for _, ref := range []*Ref{a.Ref(), b.Ref()} {
					if got, err := ref.Call(r.t.Context(), "echo", nil, 1); got != int64(1) || err != nil {
						r.t.Error(got, err)
					}
				}
				time.Sleep(time.Hour)
				if cs := alice.Conns(); len(cs) != 1 || cs[0].Info().Since != since {
					r.t.Error("the connection did not stay")
				}
			})
		})
	}
}

// TestCrossingDials: of two dials that cross, neither fails.
func TestCrossingDials(t *testing.T) {
	for offset := range 8 {
		bothRoles(t, func(r *rig, d, l int) {
			alice, bob := r.tub("alice", d, Limits{}), r.tub("bob", l, Limits{})
			r.listen("alice", alice)
			r.listen("bob", bob)
			errs := make(chan error)
			dial := func(from, to *Tub) {
				ref, err := from.Dial(r.t.Context(), to.Register(NewSwissnum(), echo), DialOptions{})
				if err == nil {
					_, err = ref.Call(r.t.Context(), "echo", nil, 1)
				}
				errs <- err
			}
			go dial(alice, bob)
			time.Sleep(time.Duration(5*offset) * time.Millisecond)
			go dial(bob, alice)
			for range 2 {
				if err := <-errs; err != nil {
					r.t.Errorf("%d ms apart: %v", 5*offset, err)
				}
			}
		})
	}
}

// TestSilentLoss: the dialling side knows that the connection is gone and the
// other has not noticed; the next one replaces it at once, whoever is the
// master.
func TestSilentLoss(t *testing.T) {
	bothRoles(t, func(r *rig, d, l int) {
		alice, bob, ref := r.pair(d, l, Limits{}, Limits{}, echo)
		f, _ := ref.FURL()
		for range 3 {
			old := bob.Conns()[0]
			alice.detach(alice.Conns()[0]) // as if no packet came through: nothing is closed
			ref, err := alice.Dial(r.t.Context(), f, DialOptions{})
			if err != nil {
				r.t.Fatal(err)
			}
			if got, err := ref.Call(r.t.Context(), "echo", nil, 1); got != int64(1) || err != nil {
				r.t.Error(got, err)
			}
			if cs := bob.Conns(); len(cs) != 1 || cs[0] == old || !errors.Is(old.Err(), errReplaced) {
				r.t.Errorf("the old connection: %v", old.Err())
			}
		}
	})
}

// TestRestart: a peer that starts again, as another incarnation, is believed.
func TestRestart(t *testing.T) {
	bothRoles(t, func(r *rig, d, l int) {
		bob := r.tub("bob", l, Limits{})
		r.listen("bob", bob)
		f := bob.Register(NewSwissnum(), echo)
		for i := range 3 {
			alice := r.tub("alice", d, Limits{}) // the one before says no goodbye
			ref, err := alice.Dial(r.t.Context(), f, DialOptions{})
			if err != nil {
				r.t.Fatalf("life %d: %v", i, err)
			}
			if got, err := ref.Call(r.t.Context(), "echo", nil, i); got != int64(i) || err != nil {
				r.t.Error(got, err)
			}
		}
		if len(bob.Conns()) != 1 {
			r.t.Errorf("%d connections", len(bob.Conns()))
		}
	})
}

// TestRecordsAreBounded: peers that come once each are not remembered for ever.
func TestRecordsAreBounded(t *testing.T) {
	m := map[string]int{}
	conns := map[string]*Conn{"peer 7": {}}
	for i := range 3 * maxRecords {
		m[fmt.Sprintf("peer %d", i)] = i
		trim(m, conns)
	}
	if len(m) > maxRecords+1 || m["peer 7"] != 7 {
		t.Errorf("%d are remembered; the connected one is %d", len(m), m["peer 7"])
	}
}

// TestReplacedCallsFail: a call on the old connection does not hang.
func TestReplacedCallsFail(t *testing.T) {
	bubble(t, func(r *rig) {
		bob := r.tub("bob", 1, Limits{})
		r.listen("bob", bob)
		one := r.knock(bob.TubID()).secure(0)
		one.Write(goodHello(0).encode())
		readBlock(one.r)
		time.Sleep(time.Second)
		errs := make(chan error)
		go func() {
			_, err := bob.Conns()[0].call(r.t.Context(), 1, "x", banana.Any(), nil, nil)
			errs <- err
		}()
		time.Sleep(time.Second)
		h := goodHello(0)
		h["my-incarnation"] = "another"
		two := r.knock(bob.TubID()).secure(0)
		two.Write(h.encode())
		if err := <-errs; !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "replaced") {
			r.t.Errorf("got %v", err)
		}
	})
}

// TestOfferWhileConnected: a dial that goes on though a connection has come does
// not tell the master that this one is gone.
func TestOfferWhileConnected(t *testing.T) {
	bubble(t, func(r *rig) {
		alice, bob, ref := r.pair(0, 1, Limits{}, Limits{}, echo)
		l := &link{dialed: true, want: bob.TubID()}
		if got := alice.offer(l)["last-connection"]; got != noRecord.String() {
			r.t.Errorf("while it is there: %q, want %q", got, noRecord)
		}
		ref.conn.end(io.EOF)
		if got := alice.offer(l)["last-connection"]; got == noRecord.String() {
			r.t.Error("when it has gone it is not mentioned")
		}
	})
}
