package introducer

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMeet: who subscribes hears of what is there and of what comes.
func TestMeet(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		hub, _ := r.hub(Limits{})
		a, heardA := r.client("alice", 1, hub.FURL(), nil)
		if err := a.Publish(server("first")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := heardA.take(); got != "first " {
			t.Errorf("the publisher heard %q", got)
		}
		b, heardB := r.client("bob", 2, hub.FURL(), nil)
		time.Sleep(time.Second)
		if got := heardB.take(); got != "first " {
			t.Errorf("a new subscriber heard %q", got)
		}
		if err := a.Publish(server("second")); err != nil {
			t.Fatal(err)
		}
		b.Publish(server("bob's"))
		time.Sleep(time.Second)
		if got := heardB.take(); got != "second bob's " && got != "bob's second " {
			t.Errorf("later, it heard %q", got)
		}
		st := hub.Status()
		if len(st.Announcements) != 2 || len(st.Subscribers) != 2 || st.Announcements[1].Nickname != "second" || !st.Announcements[1].Connected ||
			st.Announcements[1].Seqnum != 2 || st.Subscribers[0].Nickname != "alice" || st.RefusedTotal != 0 || st.SaveErr != nil {
			t.Errorf("status of the introducer: %+v", st)
		}
		ct := a.Status()
		if !ct.Subscribed || ct.Published.Seqnum != 2 || ct.Published.Sent.IsZero() || ct.Published.Err != nil || len(ct.Known) != 2 ||
			!strings.Contains(ct.Known[1].Why, "seqnum 2 follows 1") || ct.Version != "tahoe-go/0.1.0" {
			t.Errorf("status of the client: %+v", ct)
		}
	})
}

// TestRestart: the introducer's memory survives, and the clients come back.
func TestRestart(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		hub, stop := r.hub(Limits{})
		a, _ := r.client("alice", 1, hub.FURL(), nil)
		a.Publish(server("first"))
		b, heardB := r.client("bob", 2, hub.FURL(), nil)
		time.Sleep(time.Minute)
		a.Close()
		heardB.take()
		stop()
		time.Sleep(time.Hour)
		if st := b.Status(); st.Subscribed {
			t.Errorf("without an introducer: %+v", st)
		}
		hub, _ = r.hub(Limits{})
		_, heardC := r.client("carol", 3, hub.FURL(), nil)
		time.Sleep(10 * time.Minute)
		if got := heardC.take(); got != "first " {
			t.Errorf("after a restart a new subscriber heard %q", got)
		}
		if got := heardB.take(); got != "" || !b.Status().Subscribed {
			t.Errorf("an old one heard %q again, %+v", got, b.Status())
		}
	})
}

// TestKeepFor: an announcement goes when its publisher has been away for 30
// days in which the introducer ran, and no sooner.
func TestKeepFor(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.limits = long
		hub, stop := r.hub(Limits{})
		tub := r.tub("alice", 1)
		for _, n := range []byte{1, 2} { // two publishers on one Tub
			if err := publishOnce(t, tub, hub.FURL(), sign(t, n, "gone", 1)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(40 * 24 * time.Hour)
		if n := len(hub.Status().Announcements); n != 2 {
			t.Fatalf("%d announcements though the publisher is there", n)
		}
		closeTub(tub)
		time.Sleep(20 * 24 * time.Hour)
		stop()
		time.Sleep(90 * 24 * time.Hour) // nobody could publish
		hub, _ = r.hub(Limits{})
		time.Sleep(9*24*time.Hour + 20*time.Hour)
		if st := hub.Status(); len(st.Announcements) != 2 || st.Announcements[0].Connected || st.Announcements[0].Absent < 29*24*time.Hour {
			t.Fatalf("before its time: %+v", st)
		}
		if err := publishOnce(t, r.tub("bob", 2), hub.FURL(), sign(t, 1, "gone", 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		st := hub.Status()
		if len(st.Announcements) != 1 || st.DroppedTotal != 1 || st.Dropped[0].Key != key(2).Key().String() || !strings.Contains(st.Dropped[0].Why, "30 days") {
			t.Errorf("after 30 days: %+v", st)
		}
		time.Sleep(40 * 24 * time.Hour)
		if n := len(hub.Status().Announcements); n != 1 {
			t.Errorf("who came back was dropped")
		}
	})
}
