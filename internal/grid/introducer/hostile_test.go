package introducer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
)

// TestRefused: what the introducer does not take, what it says to the
// publisher, and what it says to people.
func TestRefused(t *testing.T) {
	good := sign(t, 1, "good", 5)
	forged := good
	forged.Msg = redact.New(strings.Replace(good.Msg.Reveal(), "good", "evil", 1))
	for _, tt := range []struct {
		name   string
		triple any
		class  string // of the error; empty: none
		why    string // for people; empty: nothing
	}{
		{"again", toWire(good), "", ""},
		{"older", toWire(sign(t, 1, "old", 4)), "", "not newer"},
		{"of the same number", toWire(sign(t, 1, "other", 5)), "", "not newer"},
		{"forged", toWire(forged), "allmydata.crypto.error.BadSignature", "wrong signature"},
		{"unsigned", banana.Tuple{[]byte(good.Msg.Reveal()), nil, nil}, "allmydata.introducer.common.UnknownKeyError", "not a key"},
		{"of a later kind", banana.Tuple{[]byte(good.Msg.Reveal()), []byte("v1-aa"), []byte("v1-aa")}, "allmydata.introducer.common.UnknownKeyError", "not a key"},
		{"no tuple", int64(1), "builtins.ValueError", "not a message"},
		{"no message", banana.Tuple{int64(1), int64(2), int64(3)}, "builtins.ValueError", "not bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				t := r.t
				hub, _ := r.hub(Limits{})
				tub := r.tub("alice", 1)
				if err := publishOnce(t, tub, hub.FURL(), good); err != nil {
					t.Fatal(err)
				}
				err := publishRaw(t, tub, hub.FURL(), tt.triple)
				remote, _ := errors.AsType[*foolscap.RemoteError](err)
				if tt.class == "" && err != nil || tt.class != "" && (remote == nil || remote.Type != tt.class) {
					t.Errorf("the publisher got %v, want %q", err, tt.class)
				}
				st := hub.Status()
				if len(st.Announcements) != 1 || st.Announcements[0].Nickname != "good" || st.Announcements[0].Seqnum != 5 {
					t.Errorf("the introducer has %+v", st.Announcements)
				}
				if (tt.why == "") != (len(st.Refused) == 0) || tt.why != "" && !strings.Contains(st.Refused[0].Why, tt.why) {
					t.Errorf("refused: %+v, want %q", st.Refused, tt.why)
				}
				if strings.Contains(fmt.Sprintf("%+v", st), "aaaaaaaaaaaaaaaa") {
					t.Error("the status shows a swissnum")
				}
			})
		})
	}
}

// TestLimits: a peer cannot fill the introducer, and who is known is not
// driven out.
func TestLimits(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		hub, _ := r.hub(Limits{Announcements: 5, PerPublisher: 3, Subscribers: 3, PerSubscriber: 2})
		alice, bob := r.tub("alice", 1), r.tub("bob", 2)
		for n := range byte(4) {
			if err := publishOnce(t, alice, hub.FURL(), sign(t, n, "a", 1)); (err == nil) != (n < 3) {
				t.Errorf("alice's announcement %d: %v", n, err)
			}
		}
		for n := range byte(3) {
			if err := publishOnce(t, bob, hub.FURL(), sign(t, 10+n, "b", 1)); (err == nil) != (n < 2) {
				t.Errorf("bob's announcement %d: %v", n, err)
			}
		}
		if err := publishOnce(t, bob, hub.FURL(), sign(t, 10, "b", 2)); err != nil {
			t.Errorf("a full introducer takes no newer announcement: %v", err)
		}
		subscribe := func(tub *foolscap.Tub) error {
			ref, err := tub.Dial(t.Context(), hub.FURL(), foolscap.DialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = ref.Call(t.Context(), "subscribe_v2", banana.None(), &foolscap.Object{}, []byte("storage"), banana.Dict{})
			return err
		}
		for i, tub := range []*foolscap.Tub{alice, alice, alice, bob, bob} {
			if err := subscribe(tub); (err == nil) != (i == 0 || i == 1 || i == 3) {
				t.Errorf("subscription %d: %v", i, err)
			}
		}
		closeTub(alice)
		time.Sleep(time.Minute)
		if st := hub.Status(); len(st.Subscribers) != 1 || len(st.Announcements) != 5 {
			t.Errorf("after alice has left: %+v", st)
		}
		if err := subscribe(bob); err != nil {
			t.Errorf("there is room again: %v", err)
		}
	})
}

// TestBytesLimit: announcements are bounded together, not only in number.
func TestBytesLimit(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		one := int64(len(sign(t, 1, "a", 1).Msg.Reveal()))
		hub, _ := r.hub(Limits{Bytes: 2*one + 10})
		tub := r.tub("alice", 1)
		for n := range byte(3) {
			if err := publishOnce(t, tub, hub.FURL(), sign(t, n, "a", 1)); (err == nil) != (n < 2) {
				t.Errorf("announcement %d: %v", n, err)
			}
		}
	})
}

// TestRate: a publisher that changes its mind all the time is slowed down.
func TestRate(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		hub, _ := r.hub(Limits{PerPublisher: 10})
		tub, taken := r.tub("alice", 1), 0
		for n := range int64(30) {
			if publishOnce(t, tub, hub.FURL(), sign(t, 1, "a", n)) == nil {
				taken++
			}
		}
		if taken != 10 && taken != 11 {
			t.Errorf("%d of 30 changes taken", taken)
		}
		time.Sleep(time.Minute)
		if err := publishOnce(t, tub, hub.FURL(), sign(t, 1, "a", 99)); err != nil {
			t.Errorf("after a minute: %v", err)
		}
	})
}

// badHub is an introducer that says to its subscribers whatever it is told.
func (r *rig) badHub() (tub *foolscap.Tub, say func(triples ...any) error, obj *foolscap.Object) {
	subs := make(chan *foolscap.Ref, 10)
	var last *foolscap.Ref
	methods := map[string]*foolscap.Method{
		"get_version": serverMethods["get_version"],
		"publish_v2":  {Args: serverMethods["publish_v2"].Args, Do: serverMethods["get_version"].Do},
		"subscribe_v2": {Args: serverMethods["subscribe_v2"].Args, Do: func(_ context.Context, c *foolscap.Call) (any, error) {
			subs <- c.Ref(0).Hold()
			return nil, nil
		}},
	}
	tub = r.tub("hub", 0)
	r.listen("hub", tub)
	say = func(triples ...any) error {
		if last == nil {
			last = <-subs
		}
		_, err := last.Call(r.t.Context(), "announce_v2", banana.None(), banana.Set(triples))
		return err
	}
	return tub, say, &foolscap.Object{Iface: ifaceService, Methods: methods}
}

// TestLyingIntroducer: a client believes signatures and sequence numbers, not
// the introducer, and one bad announcement does not keep out the others.
func TestLyingIntroducer(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		tub, say, obj := r.badHub()
		c, heard := r.client("alice", 1, tub.Register(r.name, obj), nil)
		forged := sign(t, 7, "a", 9)
		forged.Key = key(8).Key().String()
		for _, step := range []struct {
			name string
			say  []any
			want string
			why  string
		}{
			{"some bad, one good", []any{toWire(forged), toWire(announce.Signed{}), int64(3), nil, banana.Tuple{}, toWire(sign(t, 7, "a5", 5))}, "a5 ", "wrong signature"},
			{"again", []any{toWire(sign(t, 7, "a5", 5))}, "", ""},
			{"older", []any{toWire(sign(t, 7, "a4", 4))}, "", "not newer than the known one: seqnum 4, known is 5"},
			{"as old", []any{toWire(sign(t, 7, "b5", 5))}, "", "not newer"},
			{"newer", []any{toWire(sign(t, 7, "a6", 6))}, "a6 ", ""},
			{"another key", []any{toWire(sign(t, 8, "k", 1))}, "k ", ""},
		} {
			before := c.Status().DroppedTotal
			if err := say(step.say...); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
			if got := heard.take(); got != step.want {
				t.Errorf("%s: heard %q, want %q", step.name, got, step.want)
			}
			st := c.Status()
			if (step.why == "") != (st.DroppedTotal == before) {
				t.Errorf("%s: dropped %+v", step.name, st.Dropped)
			}
			if step.why != "" && !strings.Contains(fmt.Sprint(st.Dropped), step.why) {
				t.Errorf("%s: dropped %+v, want %q", step.name, st.Dropped, step.why)
			}
		}
	})
}

// lines counts what is logged, by message.
type lines struct {
	slog.Handler
	mu sync.Mutex
	n  map[string]int
}

func newLines() *lines { return &lines{Handler: slog.DiscardHandler, n: map[string]int{}} }

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n[r.Message]++
	return nil
}

func (l *lines) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n[message]
}

// TestLogIsBounded: an introducer, and a publisher, cannot fill a disk with what
// is logged of them; all is counted.
func TestLogIsBounded(t *testing.T) {
	const n = 2000
	bubble(t, func(r *rig) {
		t, log := r.t, newLines()
		tub, say, obj := r.badHub()
		c, _ := r.client("alice", 1, tub.Register(r.name, obj), func(c *ClientConfig) { c.Log = slog.New(log) })
		var bad []any
		for i := range n {
			bad = append(bad, toWire(announce.Signed{Key: fmt.Sprintf("v0-%d", i)}))
		}
		if err := say(bad...); err != nil {
			t.Fatal(err)
		}
		if got := log.count("announcement dropped"); got == 0 || got > 100 || c.Status().DroppedTotal != n {
			t.Errorf("%d lines for %d dropped announcements", got, c.Status().DroppedTotal)
		}
		time.Sleep(24 * time.Hour)
		if err := say(toWire(announce.Signed{Key: "v0-last"})); err != nil || log.count("announcement dropped") > 100 {
			t.Errorf("a day later: %v, %d lines", err, log.count("announcement dropped"))
		}
	})
	bubble(t, func(r *rig) {
		t, log := r.t, newLines()
		hub, _ := r.hub(Limits{})
		hub.conf.Log = slog.New(log)
		alice := r.tub("alice", 1)
		for i := range n {
			publishRaw(t, alice, hub.FURL(), toWire(announce.Signed{Key: fmt.Sprintf("v0-%d", i)}))
		}
		if got := log.count("announcement refused"); got == 0 || got > 100 || hub.Status().RefusedTotal != n {
			t.Errorf("%d lines for %d refused announcements", got, hub.Status().RefusedTotal)
		}
	})
}

// TestOldIntroducer: one that does not do what is asked is asked again, with
// pauses, and the status says what is wrong.
func TestOldIntroducer(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		asked := 0
		tub := r.tub("hub", 0)
		r.listen("hub", tub)
		at := tub.Register(r.name, &foolscap.Object{Methods: map[string]*foolscap.Method{"get_version": {Do: func(context.Context, *foolscap.Call) (any, error) {
			asked++
			return banana.Dict{{Key: []byte("http://allmydata.org/tahoe/protocols/introducer/v1"), Value: banana.Dict{}}}, nil
		}}}})
		c, _ := r.client("alice", 1, at, nil)
		time.Sleep(24 * time.Hour)
		if st := c.Status(); st.Problem == nil || !strings.Contains(st.Problem.Error(), "version 2") || st.Subscribed {
			t.Errorf("status %+v", st)
		}
		if asked < 10 || asked > 40 {
			t.Errorf("asked %d times in a day", asked)
		}
	})
}

// TestRefusedClient: a client whose announcement is refused listens all the
// same, says so, and tries again.
func TestRefusedClient(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.limits = long
		hub, _ := r.hub(Limits{Announcements: 1})
		other := r.tub("bob", 2)
		if err := publishOnce(t, other, hub.FURL(), sign(t, 9, "bob", 1)); err != nil {
			t.Fatal(err)
		}
		c, heard := r.client("alice", 1, hub.FURL(), nil)
		c.Publish(server("alice"))
		time.Sleep(10 * time.Second)
		tries := hub.Status().RefusedTotal
		c.Publish(server("alice"))
		time.Sleep(time.Second)
		if n := hub.Status().RefusedTotal; n != tries+1 {
			t.Errorf("%d tries to publish something new at once, want 1", n-tries)
		}
		if st := c.Status(); heard.take() != "bob " || !st.Subscribed || st.Problem == nil || st.Published.Err == nil || !st.Published.Sent.IsZero() {
			t.Errorf("refused: %+v", st)
		}
		closeTub(other)
		time.Sleep(31 * 24 * time.Hour)
		if st := c.Status(); st.Problem != nil || st.Published.Err != nil || st.Published.Sent.IsZero() || heard.take() != "alice " {
			t.Errorf("when there is room: %+v", st)
		}
		if n := len(hub.Status().Subscribers); n != 1 {
			t.Errorf("%d subscriptions", n)
		}
	})
}

// TestOwnSeqnum: a node whose sequence numbers went back is told.
func TestOwnSeqnum(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		hub, _ := r.hub(Limits{})
		if err := publishOnce(t, r.tub("before", 2), hub.FURL(), sign(t, 1, "before", 50)); err != nil {
			t.Fatal(err)
		}
		log := newLines()
		c, _ := r.client("alice", 1, hub.FURL(), func(c *ClientConfig) { c.Log = slog.New(log) })
		c.Publish(server("now"))
		time.Sleep(time.Minute)
		if st := c.Status().Published; st.Newer != 50 || st.Seqnum != 1 {
			t.Errorf("status %+v", st)
		}
		for n := range byte(10) {
			if err := publishOnce(t, r.tub("others", 3), hub.FURL(), sign(t, 20+n, "other", 1)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if got := log.count("there is a later announcement of this node than the one it makes, which does not count until its sequence number is greater"); got != 1 {
			t.Errorf("it is said %d times", got)
		}
		c.conf.Sequence = counter(50)
		c.Publish(server("now"))
		time.Sleep(time.Minute)
		if st := c.Status().Published; st.Newer != 0 || st.Sent.IsZero() || hub.Status().Announcements[0].Nickname != "now" {
			t.Errorf("status %+v", st)
		}
	})
}

// TestUnheard: what a subscriber did not answer in time is said again.
func TestUnheard(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		hub, _ := r.hub(Limits{})
		if err := publishOnce(t, r.tub("alice", 1), hub.FURL(), sign(t, 1, "a", 1)); err != nil {
			t.Fatal(err)
		}
		var calls, heard atomic.Int64
		obj := &foolscap.Object{Methods: map[string]*foolscap.Method{"announce_v2": {
			Args: subscriberMethods["announce_v2"].Args, Limit: maxAnnounce,
			Do: func(_ context.Context, c *foolscap.Call) (any, error) {
				if calls.Add(1) == 1 { // the line swallows it
					time.Sleep(answerTime + time.Second)
				} else {
					heard.Add(int64(len(c.Set(0))))
				}
				return nil, nil
			},
		}}}
		ref, err := r.tub("bob", 2).Dial(t.Context(), hub.FURL(), foolscap.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = ref.Call(t.Context(), "subscribe_v2", banana.None(), obj, []byte("storage"), banana.Dict{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if heard.Load() != 1 || calls.Load() != 2 {
			t.Errorf("%d announcements arrived in %d calls, want 1 in the second", heard.Load(), calls.Load())
		}
	})
}

// TestPartition: what was published while a subscriber could not be reached
// arrives afterwards.
func TestPartition(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		hub, _ := r.hub(Limits{})
		a, _ := r.client("alice", 1, hub.FURL(), nil)
		var changes atomic.Int64
		b, heard := r.client("bob", 2, hub.FURL(), func(c *ClientConfig) { c.Changed = func() { changes.Add(1) } })
		a.Publish(server("one"))
		time.Sleep(time.Second)
		if b.Status().HeardOut {
			t.Error("heard out at once")
		}
		time.Sleep(time.Minute)
		if !b.Status().HeardOut || changes.Load() != 1 {
			t.Errorf("after a minute: heard out: %t, %d changes", b.Status().HeardOut, changes.Load())
		}
		heard.take()
		r.net.Partition("bob", "hub")
		a.Publish(server("two"))
		a.Publish(server("three"))
		time.Sleep(2 * time.Hour)
		if b.Status().Subscribed || b.Status().HeardOut || changes.Load() != 2 || len(hub.Status().Subscribers) != 1 {
			t.Errorf("both think they are connected: %+v", hub.Status().Subscribers)
		}
		r.net.Heal("bob", "hub")
		time.Sleep(10 * time.Minute)
		if got := heard.take(); got != "three " {
			t.Errorf("after the partition bob heard %q", got)
		}
		if st := hub.Status(); len(st.Subscribers) != 2 {
			t.Errorf("subscribers %+v", st.Subscribers)
		}
	})
}
