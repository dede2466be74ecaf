package contact_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
)

// hub is an introducer that can be stopped and started again.
type hub struct {
	t    *testing.T
	net  *memnet.Net
	host string
	cert tubcert.Cert
	name redact.Secret
	root *os.Root
	furl furl.FURL
	stop func()
}

func newHub(t *testing.T, n *memnet.Net, host string) *hub {
	t.Helper()
	cert, err := tubcert.Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, net: n, host: host, cert: cert, name: foolscap.NewSwissnum(), root: root(t)}
	h.start()
	return h
}

func root(t *testing.T) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func (h *hub) start() {
	h.t.Helper()
	tub, err := foolscap.New(foolscap.Config{Cert: h.cert, Hints: []furl.Hint{{Kind: furl.TCP, Host: h.host, Port: 3457}}})
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := introducer.NewServer(introducer.ServerConfig{Tub: tub, Swissnum: h.name, Root: h.root})
	if err != nil {
		h.t.Fatal(err)
	}
	h.furl = s.FURL()
	l, err := h.net.Host(h.host).Listen(h.t.Context(), netx.Addr{Kind: netx.TCP, Port: 3457})
	if err != nil {
		h.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); tub.ServeListener(l) }()
	h.stop = sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tub.Close(ctx)
		<-done
	})
	h.t.Cleanup(func() { h.stop() })
}

// publish announces a server once, over a connection of its own.
func (h *hub) publish(key announce.SigningKey, s announce.Server, seqnum int64) (stop func()) {
	h.t.Helper()
	tub, err := contact.NewTub(h.net.Host("publisher"), foolscap.Limits{}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	c, err := introducer.NewClient(introducer.ClientConfig{Tub: tub, FURL: h.furl, Petname: h.host, Key: key, Sequence: func() (int64, error) { return seqnum, nil }})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := c.Publish(s); err != nil {
		h.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tub.Close(ctx)
	})
	h.t.Cleanup(stop)
	return stop
}

// node is a client node's part of a grid.
type node struct {
	grid    *grid.Grid
	clients []*introducer.Client
	stop    func()
}

func newNode(t *testing.T, n *memnet.Net, private *os.Root, hubs ...*hub) *node {
	t.Helper()
	pool := contact.New(contact.Config{Network: n.Host("client")})
	nd := &node{grid: grid.New(grid.Config{Open: pool.Open})}
	tub, err := contact.NewTub(n.Host("client"), foolscap.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hubs {
		c, err := introducer.NewClient(introducer.ClientConfig{Tub: tub, FURL: h.furl, Petname: h.host, Sink: nd.grid.Source(h.host), Private: private, Cache: introducer.CacheFile(h.host)})
		if err != nil {
			t.Fatal(err)
		}
		nd.clients = append(nd.clients, c)
	}
	nd.stop = sync.OnceFunc(func() {
		for _, c := range nd.clients {
			c.Close()
		}
		nd.grid.Close()
		pool.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tub.Close(ctx)
	})
	t.Cleanup(nd.stop)
	return nd
}

// at fails the test unless the one known server is connected and known best
// from source, with that sequence number.
func (n *node) at(t *testing.T, when, source string, seqnum int64) {
	t.Helper()
	all := n.grid.Status()
	if len(all) != 1 || all[0].State != grid.Connected || all[0].Source != source || all[0].Sources[0].Seqnum != seqnum {
		t.Errorf("%s: %+v; want one server, connected, from %s by announcement %d", when, all, source, seqnum)
	}
}

// From a server's announcement to a client's connection, through introducers
// that restart, forget, are cut off and replay.
func TestIntroducersToServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(t)
		a, b := newHub(t, n, "a"), newHub(t, n, "b")
		first, second := newServer(t, n, "first"), newServer(t, n, "second")
		key, err := announce.SigningKeyOf(redact.New(strings.Repeat("k", 32)))
		if err != nil {
			t.Fatal(err)
		}
		says := func(s *server) announce.Server {
			return announce.Server{Nickname: s.known.Name, Version: "test/1", FURL: s.known.FURL, Seed: []byte("seed")}
		}
		private := root(t)
		nd := newNode(t, n, private, a, b)
		goneA := a.publish(key, says(first), 1)
		b.publish(key, says(first), 1)
		time.Sleep(time.Minute)
		nd.at(t, "announced by both", "a", 1)

		// It moves, and says so to one of them. The other says what it knows.
		goneA()
		a.publish(key, says(second), 2)
		time.Sleep(time.Minute)
		nd.at(t, "moved", "a", 2)
		b.stop()
		b.start()
		time.Sleep(10 * time.Minute)
		nd.at(t, "an old announcement again", "a", 2)

		// Both forget everything; then nobody can be reached.
		for _, h := range []*hub{a, b} {
			h.stop()
			h.root.Remove(introducer.MemoryFile)
		}
		time.Sleep(24 * time.Hour)
		nd.at(t, "without introducers", "a", 2)
		for _, h := range []*hub{a, b} {
			h.start()
		}
		time.Sleep(24 * time.Hour)
		nd.at(t, "with introducers that know nothing", "a", 2)
		n.Partition("client", "a")
		n.Partition("client", "b")
		nd.stop()

		// A new run begins with what was cached.
		nd = newNode(t, n, private, a, b)
		if got := nd.grid.Wait(t.Context(), 1); got != 1 {
			t.Fatalf("after a restart: %+v", nd.grid.Status())
		}
		nd.at(t, "after a restart", "a", 2)
		if known := nd.clients[0].Status().Known; len(known) != 1 || !known[0].Cached || !strings.Contains(known[0].Why, "cache") {
			t.Errorf("known %+v", known)
		}

		// What the owner wrote counts, whatever is announced.
		static := first.known
		static.ID, static.Source, static.Static = key.Key().String(), "servers.yaml", true
		nd.grid.Add(static)
		n.Heal("client", "a")
		a.publish(key, says(second), 99)
		time.Sleep(time.Hour)
		nd.at(t, "written by hand", "servers.yaml", 0)
	})
}

// An introducer that lies: forged, replayed and endless announcements change
// nothing, and each is said to be dropped, and why.
func TestForgedAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(t)
		a := newHub(t, n, "a")
		first := newServer(t, n, "first")
		nd := newNode(t, n, root(t), a)
		key, err := announce.SigningKeyOf(redact.New(strings.Repeat("k", 32)))
		if err != nil {
			t.Fatal(err)
		}
		s := announce.Server{Nickname: "first", Version: "test/1", FURL: first.known.FURL, Seed: []byte("seed")}
		stop := a.publish(key, s, 7)
		time.Sleep(time.Minute)
		stop()
		// The introducer has lost its memory, and takes what is old for new.
		a.stop()
		a.root.Remove(introducer.MemoryFile)
		a.start()
		s.Nickname = "replayed"
		a.publish(key, s, 6)
		time.Sleep(30 * time.Minute)
		nd.at(t, "replayed", "a", 7)
		st := nd.clients[0].Status()
		if st.DroppedTotal == 0 || !strings.Contains(st.Dropped[0].Why, "seqnum 6, known is 7") {
			t.Errorf("dropped %+v", st.Dropped)
		}
	})
}
