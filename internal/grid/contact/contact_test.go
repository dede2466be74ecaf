package contact_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/check/gridtest"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/foolscapstore"
	"tahoe-go/internal/storage/gbs"
	"tahoe-go/internal/storage/memstore"
)

// server is a Foolscap server at a host of the same name.
type server struct {
	tub   *foolscap.Tub
	known grid.Known
}

func newServer(t *testing.T, n *memnet.Net, host string) *server {
	t.Helper()
	cert, err := tubcert.Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	hint := furl.Hint{Kind: furl.TCP, Host: host, Port: 4000}
	tub, err := foolscap.New(foolscap.Config{Cert: cert, Hints: []furl.Hint{hint}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := n.Host(host).Listen(t.Context(), netx.Addr{Kind: netx.TCP, Port: 4000})
	if err != nil {
		t.Fatal(err)
	}
	h := foolscapstore.NewHandler(foolscapstore.HandlerConfig{Server: memstore.New(memstore.Config{})})
	f := tub.Register(foolscap.NewSwissnum(), h.Object())
	done := make(chan struct{})
	go func() { defer close(done); tub.ServeListener(l) }()
	t.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tub.Close(ctx)
		<-done
	})
	return &server{tub, grid.Known{ID: "v0-" + host, Name: host, Seed: []byte(host), FURL: f, LeaseSeed: grid.LeaseSeed(f), Source: "test"}}
}

// peer is the identity that the one client of a server shows.
func (s *server) peer(t *testing.T) string {
	t.Helper()
	cs := s.tub.Conns()
	if len(cs) != 1 {
		t.Fatalf("%d connections", len(cs))
	}
	return cs[0].Peer()
}

// No two servers, and no two runs, see the same client.
func TestIdentities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(t)
		a, b := newServer(t, n, "a"), newServer(t, n, "b")
		seen := map[string]bool{}
		for range 2 {
			pool := contact.New(contact.Config{Network: n.Host("client")})
			g := grid.New(grid.Config{Open: pool.Open})
			g.Add(a.known)
			g.Add(b.known)
			if got := g.Wait(t.Context(), 2); got != 2 {
				t.Fatalf("%d servers connected: %+v", got, g.Status())
			}
			for _, s := range []*server{a, b} {
				if peer := s.peer(t); seen[peer] {
					t.Errorf("the client %s was seen before", peer)
				} else {
					seen[peer] = true
				}
			}
			g.Close()
			if err := pool.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
		}
		isolation := map[string]bool{}
		for _, d := range n.Dials() {
			isolation[d.To.Host+" "+d.To.Isolation] = true
		}
		if len(isolation) != 2 || !isolation["a storage:v0-a"] || !isolation["b storage:v0-b"] {
			t.Errorf("dials %v", isolation)
		}
	})
}

// A connection that stands is used again, and a new address does not leave the
// old client behind for ever.
func TestManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(t)
		a := newServer(t, n, "a")
		pool := contact.New(contact.Config{Network: n.Host("client")})
		at := grid.Address{Protocol: grid.Foolscap, FURL: a.known.FURL}
		one, err := pool.Open(a.known, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		if two, _ := pool.Open(a.known, at); two != one {
			t.Error("two clients for one address")
		}
		for i := range 1000 {
			other := at
			other.FURL.Hints = []furl.Hint{{Kind: furl.TCP, Host: "elsewhere", Port: i + 1}}
			if _, err := pool.Open(a.known, other); err != nil {
				t.Fatal(err)
			}
			gbs := grid.Address{Protocol: grid.GBS, NURL: furl.NURL{Host: "elsewhere", Port: i + 1}}
			if _, err := pool.Open(a.known, gbs); err != nil {
				t.Fatal(err)
			}
		}
		if three, _ := pool.Open(a.known, at); three == one {
			t.Error("clients of 2000 addresses are kept")
		} else if _, err := three.Version(t.Context()); err != nil {
			t.Error(err)
		}
		if got := len(n.Dials()); got != 1 {
			t.Errorf("%d dials; a new client of a server has the connection that stands", got)
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
		if _, err := pool.Open(a.known, at); err == nil {
			t.Error("a closed pool opens")
		}
	})
}

// A node that hides dials nothing without Tor because servers.yaml says so,
// by neither protocol, and the refusal is the reason that is shown.
func TestNeverInClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded := &torRecorder{}
		network, err := netx.New(netx.Policy{TCP: netx.ViaTor, HideAddress: true}, netx.Routes{Tor: recorded})
		if err != nil {
			t.Fatal(err)
		}
		pool := contact.New(contact.Config{Network: network})
		g := grid.New(grid.Config{Open: pool.Open, TCP: netx.ViaTor})
		defer func() { g.Close(); pool.Close() }()
		cert, err := tubcert.Ephemeral()
		if err != nil {
			t.Fatal(err)
		}
		known := func(name, host string, via grid.Via) grid.Known {
			return grid.Known{
				ID: "v0-" + name, Name: name, Via: via, Source: "servers.yaml", Static: true,
				NURLs: []furl.NURL{{Host: host, Port: 1, Swissnum: foolscap.NewSwissnum()}},
				FURL:  furl.FURL{TubID: cert.TubID(), Hints: []furl.Hint{{Kind: furl.TCP, Host: host, Port: 2}}, Swissnum: foolscap.NewSwissnum()},
			}
		}
		g.Add(known("direct", "direct.example.net", grid.Via{TCP: netx.Direct}))
		g.Add(known("private", "192.168.1.5", grid.Via{}))
		g.Add(known("none", "none.example.net", grid.Via{TCP: netx.Disabled, Tor: netx.Disabled}))
		g.Add(known("through", "through.example.net", grid.Via{}))
		g.Wait(t.Context(), 4)
		reasons := map[string]string{}
		for _, st := range g.Status() {
			reasons[st.Name] = st.Reason
		}
		for name, want := range map[string]string{"direct": contact.ErrDirect.Error(), "private": "Tor reaches only public addresses", "none": "leaves none of its addresses", "through": "recorded"} {
			if !strings.Contains(reasons[name], want) {
				t.Errorf("%s: %q, want %q", name, reasons[name], want)
			}
		}
		for _, a := range recorded.dialed() {
			if a.Host != "through.example.net" {
				t.Errorf("dialled %v", a)
			}
		}
		if len(recorded.dialed()) < 2 {
			t.Errorf("dialled %v; want both protocols through Tor", recorded.dialed())
		}
	})
}

// Where nobody listens one dial is enough; where somebody listens who does not
// speak the HTTP protocol, or at another place, Foolscap is tried.
func TestOneDialWhereNobodyIs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		nurl   furl.NURL
		gone   bool // nobody listens
		dials  int
		reason string
		want   grid.State
	}{
		{"nobody", furl.NURL{Host: "a", Port: 4000}, true, 1, "connection refused", grid.Disconnected},
		{"nobody, and another port", furl.NURL{Host: "a", Port: 4001}, true, 2, "by Foolscap: ", grid.Disconnected},
		{"Foolscap alone", furl.NURL{Host: "a", Port: 4000}, false, 2, "", grid.Connected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New(t)
				a := newServer(t, n, "a")
				tt.nurl.Swissnum = foolscap.NewSwissnum()
				a.known.NURLs = []furl.NURL{tt.nurl}
				if tt.gone {
					n.Host("a").Fail(memnet.Refuse)
				}
				pool := contact.New(contact.Config{Network: n.Host("client")})
				g := grid.New(grid.Config{Open: pool.Open, RetryMin: time.Hour, RetryMax: time.Hour})
				defer func() { g.Close(); pool.Close(); time.Sleep(time.Second) }()
				g.Add(a.known)
				g.Wait(t.Context(), 1)
				st := g.Status()[0]
				if got := len(n.Dials()); got != tt.dials || st.State != tt.want || !strings.Contains(st.Reason, tt.reason) {
					t.Errorf("%d dials, want %d; status %+v", got, tt.dials, st)
				}
			})
		})
	}
}

// A node with Tor that may also dial straight does so for the one server.
func TestDirectPastTor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(t)
		a, b := newServer(t, n, "a"), newServer(t, n, "b")
		a.known.Via = grid.Via{TCP: netx.Direct}
		pool := contact.New(contact.Config{Network: n.Host("through-tor"), Direct: n.Host("straight")})
		g := grid.New(grid.Config{Open: pool.Open, TCP: netx.ViaTor})
		defer func() { g.Close(); pool.Close() }()
		g.Add(a.known)
		g.Add(b.known)
		if got := g.Wait(t.Context(), 2); got != 2 {
			t.Fatalf("%d servers connected: %+v", got, g.Status())
		}
		for _, d := range n.Dials() {
			if want := map[string]string{"a": "straight", "b": "through-tor"}[d.To.Host]; d.From != want {
				t.Errorf("%s was dialled from %s", d.To.Host, d.From)
			}
		}
		for _, st := range g.Status() {
			if want := map[string]string{"a": "tcp", "b": "tor"}[st.Name]; st.Address != want {
				t.Errorf("%s: address %q, want %q", st.Name, st.Address, want)
			}
		}
	})
}

// A loss is noticed and mended, and calls of a closed pool end.
func TestLossByFoolscap(t *testing.T) {
	gridtest.Run(t, gridtest.Config{Servers: 1, K: 1, Happy: 1, N: 1, Protocols: []grid.Protocol{grid.Foolscap}}, func(t *testing.T, g *gridtest.Grid) {
		s := g.Servers[0]
		s.Stop()
		if _, err := g.Client.Servers.ForRead(storage.Index{})[0].Server.Version(t.Context()); err == nil {
			t.Error("a stopped server answers")
		}
		time.Sleep(time.Second)
		if st := g.Client.Servers.Status()[0]; st.State != grid.Disconnected || st.Reason == "" {
			t.Errorf("status %+v", st)
		}
		s.Start()
		time.Sleep(time.Minute)
		if st := g.Client.Servers.Status()[0]; st.State != grid.Connected {
			t.Errorf("status %+v", st)
		}
	})
}

// A connection that is lost under a share writer is noticed at once, and not
// taken for an answer.
func TestLossDuringUpload(t *testing.T) {
	gridtest.Run(t, gridtest.Config{Servers: 1, K: 1, Happy: 1, N: 1, Protocols: []grid.Protocol{grid.Foolscap}}, func(t *testing.T, g *gridtest.Grid) {
		a, err := g.Client.Servers.ForRead(storage.Index{})[0].Server.Allocate(t.Context(), storage.Index{}, []storage.ShareNum{0}, 4<<20, storage.LeaseSecrets{
			Renew: redact.New(strings.Repeat("r", 32)), Cancel: redact.New(strings.Repeat("c", 32)),
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		g.Servers[0].Stop()
		lost := time.Now()
		w := a.Writers[0]
		for off := int64(0); off < 4<<20 && err == nil; off += 1 << 20 {
			err = w.WriteAt(t.Context(), make([]byte, 1<<20), off)
		}
		if err == nil {
			err = w.Close(t.Context())
		}
		if err == nil {
			t.Fatal("a share was stored with a server that is gone")
		}
		w.Abort(t.Context())
		time.Sleep(10 * time.Second)
		if st := g.Client.Servers.Status()[0]; st.State != grid.Disconnected || !st.LastContact.Before(lost) {
			t.Errorf("%v after it was lost: %+v", time.Since(lost), st)
		}
	})
}

// Who announces another's fURL beside an HTTP address of its own is shown none
// of the secrets that are derived from the other's name.
func TestUnderAnothersName(t *testing.T) {
	gridtest.Run(t, gridtest.Config{Servers: 2, K: 1, Happy: 1, N: 1, Protocols: []grid.Protocol{grid.GBS, grid.Foolscap}}, func(t *testing.T, g *gridtest.Grid) {
		pool := contact.New(contact.Config{Network: g.Net.Host("someone")})
		defer pool.Close()
		k := g.Servers[1].Known
		for _, tt := range []struct {
			of   int // the server whose fURL it is
			want error
		}{{1, nil}, {0, gbs.ErrTubID}} {
			k.FURL = g.Servers[tt.of].Known.FURL
			s, err := pool.Open(k, grid.Address{Protocol: grid.GBS, NURL: k.NURLs[0]})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Version(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("with the fURL of server %d: %v, want %v", tt.of, err, tt.want)
			}
		}
	})
}

var errRecorded = errors.New("recorded")
