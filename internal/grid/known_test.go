package grid

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/storage"
)

const (
	tubID = "zznbwkuaspu22s353xxkhi2feeeobore"
	onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
)

// foolscapAt is a fURL with these hints.
func foolscapAt(t testing.TB, hints string) furl.FURL {
	t.Helper()
	f, err := furl.ParseFURL("pb://" + tubID + "@" + hints + "/swissnum")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFoolscapWhereGBSCannotBeReached(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		nurls                []string
		down, hang           bool // GBS
		force                bool
		want                 Protocol
		why                  string // part of Status.GBS
		fastest, slowest     time.Duration
		foolscapAsked, asked int32
	}{
		{"GBS answers", []string{"gbs"}, false, false, false, GBS, "", 0, 0, 0, 1},
		{"no NURL", nil, false, false, false, Foolscap, "announces no address", 0, 0, 1, 0},
		{"GBS refuses", []string{"gbs"}, true, false, false, Foolscap, "refused", 0, 0, 1, 1},
		{"GBS hangs", []string{"gbs"}, false, true, false, Foolscap, "in time", 30 * time.Second, 30 * time.Second, 1, 1},
		{"forced", []string{"gbs"}, false, false, true, Foolscap, "force_foolscap", 0, 0, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakes := map[string]*fake{"gbs": newFake(), "foolscap": newFake()}
				fakes["gbs"].down.Store(tt.down)
				fakes["gbs"].hang.Store(tt.hang)
				g := New(Config{Open: open(fakes), ForceFoolscap: tt.force})
				defer g.Close()
				k := known("s", tt.nurls...)
				k.FURL = foolscapAt(t, "tcp:s.example:1")
				start := time.Now()
				g.Add(k)
				if n := g.Wait(t.Context(), 1); n != 1 {
					t.Fatalf("not connected: %+v", g.Status()[0])
				}
				if took := time.Since(start); took < tt.fastest || took > tt.slowest {
					t.Errorf("took %v, want %v to %v", took, tt.fastest, tt.slowest)
				}
				st := g.Status()[0]
				if st.Protocol != tt.want || !strings.Contains(st.GBS, tt.why) || tt.why == "" && st.GBS != "" {
					t.Errorf("status = %+v, want %s because %q", st, tt.want, tt.why)
				}
				if a, b := fakes["gbs"].asked.Load(), fakes["foolscap"].asked.Load(); a != tt.asked || b != tt.foolscapAsked {
					t.Errorf("asked by GBS %d times, by Foolscap %d; want %d, %d", a, b, tt.asked, tt.foolscapAsked)
				}
			})
		})
	}
}

func TestBothProtocolsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakes := map[string]*fake{"gbs": newFake(), "foolscap": newFake()}
		fakes["gbs"].down.Store(true)
		fakes["foolscap"].down.Store(true)
		g := New(Config{Open: open(fakes)})
		defer g.Close()
		k := known("s", "gbs")
		k.FURL = foolscapAt(t, "tcp:s.example:1")
		g.Add(k)
		g.Wait(t.Context(), 1)
		if st := g.Status()[0]; st.State != Disconnected || st.Reason != "connection refused; by Foolscap: connection refused" {
			t.Errorf("status = %+v", st)
		}
	})
}

// A server found by Foolscap is asked by GBS again when it has been idle.
func TestGBSIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakes := map[string]*fake{"gbs": newFake(), "foolscap": newFake()}
		fakes["gbs"].down.Store(true)
		g := New(Config{Open: open(fakes)})
		defer g.Close()
		k := known("s", "gbs")
		k.FURL = foolscapAt(t, "tcp:s.example:1")
		g.Add(k)
		g.Wait(t.Context(), 1)
		fakes["gbs"].down.Store(false)
		time.Sleep(16 * time.Minute)
		if st := g.Status()[0]; st.State != Connected || st.Protocol != GBS || st.GBS != "" {
			t.Errorf("status = %+v", st)
		}
		before := fakes["gbs"].asked.Load()
		g.ForRead(storage.Index{})[0].Server.Version(t.Context())
		if fakes["gbs"].asked.Load() != before+1 {
			t.Error("peers still go by Foolscap")
		}
	})
}

func TestVia(t *testing.T) {
	nurls := []furl.NURL{{Host: "s.example", Port: 1}, {Host: onion, Port: 2, Tor: true}}
	const hints = "tcp:s.example:1,old.example:3,tor:" + onion + ":2,i2p:x.i2p,tcp:" + onion + ":4"
	for _, tt := range []struct {
		name     string
		handlers map[string]string
		node     netx.Carrier
		gbs      string // kinds
		foolscap string // hints
		direct   bool
	}{
		{"as the node", nil, netx.Direct, "tcp onion", "tcp:s.example:1,old.example:3,tor:" + onion + ":2,tcp:" + onion + ":4", false},
		{"as a node with Tor", nil, netx.ViaTor, "tor onion", "tcp:s.example:1,old.example:3,tor:" + onion + ":2,tcp:" + onion + ":4", false},
		{"tcp through Tor", map[string]string{"tcp": "tor"}, netx.Direct, "tor onion", "tor:s.example:1,tor:old.example:3,tor:" + onion + ":2,tcp:" + onion + ":4", false},
		{"no tcp", map[string]string{"tcp": "Disabled"}, netx.Direct, "onion", "tor:" + onion + ":2,tcp:" + onion + ":4", false},
		{"no Tor", map[string]string{"tor": "disabled"}, netx.Direct, "tcp", "tcp:s.example:1,old.example:3", false},
		{"neither", map[string]string{"tor": "disabled", "tcp": "disabled"}, netx.Direct, "", "", false},
		{"straight", map[string]string{"tcp": "tcp", "i2p": "x"}, netx.Direct, "tcp onion", "tcp:s.example:1,old.example:3,tor:" + onion + ":2,tcp:" + onion + ":4", false},
		{"straight past Tor", map[string]string{"tcp": "tcp"}, netx.ViaTor, "tcp onion", "tcp:s.example:1,old.example:3,tor:" + onion + ":2,tcp:" + onion + ":4", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			via, err := ParseVia(tt.handlers)
			if err != nil {
				t.Fatal(err)
			}
			g := New(Config{Open: open(nil), TCP: tt.node})
			defer g.Close()
			gbs, fool := g.addresses(Known{NURLs: nurls, FURL: foolscapAt(t, hints), Via: via})
			var kinds, texts []string
			direct := false
			for _, a := range gbs {
				kinds = append(kinds, g.kind(a, ""))
				direct = direct || a.Direct
				if a.Direct && a.NURL.Tor {
					t.Error("an onion address without Tor")
				}
			}
			if fool != nil {
				for _, h := range fool.FURL.Hints {
					texts = append(texts, h.String())
				}
			}
			if got := strings.Join(kinds, " "); got != tt.gbs || direct != tt.direct {
				t.Errorf("GBS: %q, direct %v; want %q, %v", got, direct, tt.gbs, tt.direct)
			}
			if got := strings.Join(texts, ","); got != tt.foolscap {
				t.Errorf("Foolscap: %q, want %q", got, tt.foolscap)
			}
		})
	}
	for _, bad := range []map[string]string{{"tcp": "i2p"}, {"tcp": ""}, {"tor": "tcp"}} {
		if _, err := ParseVia(bad); err == nil {
			t.Errorf("ParseVia(%v) succeeds", bad)
		}
	}
}

// What one source says does not undo what another says, and nothing is
// forgotten because a source says nothing.
func TestSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakes := map[string]*fake{"a": newFake(), "b": newFake(), "file": newFake()}
		g := New(Config{Open: open(fakes)})
		defer g.Close()
		say := func(source, host string, seqnum int64, static bool) {
			k := known("s", host)
			k.Source, k.Seqnum, k.Static = source, seqnum, static
			g.Add(k)
			g.Wait(t.Context(), 1)
		}
		used := func(source, host string) {
			t.Helper()
			st := g.Status()[0]
			if len(g.Status()) != 1 || st.Source != source || st.State != Connected {
				t.Fatalf("status = %+v, want source %s", st, source)
			}
			before := fakes[host].asked.Load()
			g.ForRead(storage.Index{})[0].Server.Version(t.Context())
			if fakes[host].asked.Load() != before+1 {
				t.Errorf("%s is not in use", host)
			}
		}
		say("introducer A", "a", 5, false)
		used("introducer A", "a")
		say("introducer B", "b", 4, false) // a replay
		used("introducer A", "a")
		say("introducer B", "b", 6, false)
		used("introducer B", "b")
		asked := fakes["b"].asked.Load()
		say("introducer B", "b", 7, false) // the same address
		if n := fakes["b"].asked.Load(); n != asked {
			t.Errorf("a new announcement of the same address made %d new connections", n-asked)
		}
		say("introducer A", "a", 7, false) // no later than what B says, and A is first
		used("introducer A", "a")
		say("servers.yaml", "file", 0, true)
		used("servers.yaml", "file")
		say("introducer B", "b", 100, false)
		used("servers.yaml", "file")
		say("servers.yaml", "a", 101, false) // an introducer's petname
		used("servers.yaml", "file")
		var whys []string
		for _, s := range g.Status()[0].Sources {
			whys = append(whys, s.Name+": "+s.Why)
		}
		want := "servers.yaml: used, as the owner of this node has entered it by hand\n" +
			"introducer A: not used: servers.yaml has an entry for this server, which always counts\n" +
			"introducer B: not used: servers.yaml has an entry for this server, which always counts\n" +
			"servers.yaml: not used: servers.yaml has an entry for this server, which always counts"
		if got := strings.Join(whys, "\n"); got != want {
			t.Errorf("sources:\n%s\nwant:\n%s", got, want)
		}
	})
}

// Of two sources with one name it is told which is meant.
func TestWhichSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Open: open(map[string]*fake{"h": newFake()})})
		defer g.Close()
		for seqnum, source := range []string{"A", "B"} {
			k := known("s", "h")
			k.Source, k.Seqnum = source, int64(seqnum)
			g.Add(k)
		}
		st := g.Status()[0].Sources
		if len(st) != 2 || st[1].Why != "not used: the introducer B has a later announcement, 1 after 0" {
			t.Errorf("sources %+v", st)
		}
	})
}

func TestNewNameKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := New(Config{Open: open(map[string]*fake{"h": f})})
		defer g.Close()
		k := known("s", "h")
		g.Add(k)
		g.Wait(t.Context(), 1)
		k.Name = "other"
		g.Add(k)
		if p := g.ForRead(storage.Index{}); len(p) != 1 || p[0].Name != "other" || f.asked.Load() != 1 {
			t.Errorf("peers %+v after %d questions", p, f.asked.Load())
		}
	})
}

// What policy refuses is the reason.
func TestRefusedAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("refused by network policy: no")
		g := New(Config{Open: func(Known, Address) (storage.Server, error) { return nil, why }})
		defer g.Close()
		k := known("s", "h")
		k.FURL = foolscapAt(t, "tcp:h:1")
		g.Add(k)
		g.Wait(t.Context(), 1)
		if st := g.Status()[0]; st.State != Disconnected || !strings.HasPrefix(st.Reason, why.Error()) {
			t.Errorf("status = %+v", st)
		}
	})
}
