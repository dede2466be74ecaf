package foolscap

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
)

// TestTLSVersions: 1.2 and 1.3, whichever side wants which, and no less.
func TestTLSVersions(t *testing.T) {
	for _, tt := range []struct {
		dialler, listener, want uint16
	}{
		{tls.VersionTLS13, tls.VersionTLS13, tls.VersionTLS13},
		{tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS12},
		{tls.VersionTLS13, tls.VersionTLS12, tls.VersionTLS12},
		{tls.VersionTLS11, tls.VersionTLS13, 0},
	} {
		t.Run(tls.VersionName(tt.dialler)+" to "+tls.VersionName(tt.listener), func(t *testing.T) {
			bothRoles(t, func(r *rig, d, l int) {
				alice, bob := r.tub("alice", d, Limits{}), r.tub("bob", l, Limits{})
				alice.id.tls.MaxVersion, bob.id.tls.MaxVersion = tt.dialler, tt.listener
				if tt.dialler < tls.VersionTLS12 {
					alice.id.tls.MinVersion = tt.dialler
				}
				r.listen("bob", bob)
				ref, err := alice.Dial(r.t.Context(), bob.Register(NewSwissnum(), echo), DialOptions{})
				if tt.want == 0 {
					if err == nil || !strings.Contains(err.Error(), "protocol version") {
						r.t.Errorf("got %v", err)
					}
					return
				}
				if err != nil {
					r.t.Fatal(err)
				}
				if v := ref.conn.nc.(*tls.Conn).ConnectionState().Version; v != tt.want {
					r.t.Errorf("version %s", tls.VersionName(v))
				}
			})
		})
	}
}

// TestWrongTub: whoever answers must be who was asked for.
func TestWrongTub(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		alice, bob, mallory := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{}), r.tub("mallory", 2, Limits{})
		f := bob.Register(NewSwissnum(), echo)
		r.listen("bob", mallory) // says so itself
		_, err := alice.Dial(t.Context(), f, DialOptions{})
		if ne, ok := errors.AsType[*NegotiationError](err); !ok || !ne.Remote || ne.Why != "unknown TubID "+bob.TubID() {
			t.Errorf("another Tub: %v", err)
		}
		mallory.id.tubID = bob.TubID() // lies
		_, err = alice.Dial(t.Context(), f, DialOptions{})
		if err == nil || !strings.Contains(err.Error(), "not that of the wanted Tub") {
			t.Errorf("another certificate: %v", err)
		}
		if strings.Contains(r.logs.String(), f.Swissnum.Reveal()) {
			t.Error("a swissnum was logged")
		}
	})
}

// TestMyself: nobody connects with this Tub's own certificate.
func TestMyself(t *testing.T) {
	bubble(t, func(r *rig) {
		bob := r.tub("bob", 1, Limits{})
		r.listen("bob", bob)
		f := r.knock(bob.TubID()).secure(1)
		f.Write(goodHello(1).encode())
		if b, err := readBlock(f.r); err != nil || b["error"] != "connected to myself" {
			r.t.Errorf("got %v, %v", b, err)
		}
	})
}

// far is the other side of a connection, played by hand.
type far struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// knock connects to bob's Tub by hand, up to TLS.
func (r *rig) knock(tubID string) *far {
	r.t.Helper()
	c, err := r.net.Host("eve").Dial(r.t.Context(), netx.Addr{Kind: netx.TCP, Host: "bob", Port: testPort})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, plainRequest, tubID, "bob")
	f := &far{r.t, c, bufio.NewReader(c)}
	if _, err := readHeader(f.r); err != nil {
		r.t.Fatal(err)
	}
	return f
}

// secure is what follows: TLS with the nth certificate, and bob's hello.
func (f *far) secure(n int) *far {
	f.t.Helper()
	c := tls.Client(f.Conn, tlsConfig(testCert(f.t, n).TLS()))
	f.Conn, f.r = c, bufio.NewReader(c)
	b, err := readBlock(f.r)
	if err != nil || b["my-tub-id"] == "" {
		f.t.Fatalf("hello is %v, %v", b, err)
	}
	return f
}

// ends reads up to the end of the connection.
func (f *far) ends() string {
	f.t.Helper()
	b, err := io.ReadAll(f.r)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
		f.t.Errorf("reading to the end: %v", err)
	}
	return string(b)
}

func goodHello(n int) block {
	return block{
		"banana-negotiation-range":  "3 3",
		"initial-vocab-table-range": "0 1",
		"last-connection":           "none 0",
		"my-incarnation":            "0123456789abcdef",
		"my-tub-id":                 testCerts()[n].TubID(),
	}
}

// TestBadHello: what is wrong is said, and the connection ends.
func TestBadHello(t *testing.T) {
	for _, tt := range []struct {
		name       string
		key, value string
		want       string
	}{
		{"no range", "banana-negotiation-range", "", "no two numbers"},
		{"old range", "banana-negotiation-range", "1 2", "banana version 1 to 2"},
		{"new range", "banana-negotiation-range", "4 9", "banana version 4 to 9"},
		{"wide range", "banana-negotiation-range", "1 9", ""},
		{"another TubID", "my-tub-id", strings.Repeat("a", 32), "TubID mismatch"},
		{"no TubID", "my-tub-id", "", "TubID mismatch"},
		{"no vocabulary", "initial-vocab-table-range", "0 0", "initial vocab set"},
		{"strange vocabulary", "initial-vocab-table-range", "x", "no two numbers"},
		{"no incarnation", "my-incarnation", "", ""},
		{"strange record", "last-connection", "what", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				bob := r.tub("bob", 1, Limits{})
				r.listen("bob", bob)
				f := r.knock(bob.TubID()).secure(0)
				h := goodHello(0)
				h[tt.key] = tt.value
				f.Write(h.encode())
				b, err := readBlock(f.r)
				if err != nil {
					r.t.Fatal(err)
				}
				if tt.want == "" {
					if b["current-connection"] != bob.id.incarnation+" 1" || b["initial-vocab-table-index"] != "1 bb33" || b["banana-decision-version"] != "3" {
						r.t.Errorf("decision %v", b)
					}
					return
				}
				if !strings.Contains(b["error"], tt.want) || b["banana-decision-version"] != "1" {
					r.t.Errorf("got %v; want an error with %q", b, tt.want)
				}
				f.ends()
				if len(bob.Conns()) != 0 {
					r.t.Error("there is a connection")
				}
			})
		})
	}
}

// TestBadDecision: the side that is not the master takes no strange decision.
func TestBadDecision(t *testing.T) {
	good := block{"banana-decision-version": "3", "current-connection": "abc 1", "initial-vocab-table-index": "1 bb33"}
	for _, tt := range []struct{ name, key, value, want string }{
		{"good", "", "", ""},
		{"refusal", "error", "Duplicate connection", `the peer refused: "Duplicate connection"`},
		{"version", "banana-decision-version", "2", "another version"},
		{"vocabulary", "initial-vocab-table-index", "0", "another vocabulary"},
		{"words", "initial-vocab-table-index", "1 dead", "another vocabulary"},
		{"no record", "current-connection", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tub := newTub(Config{}, identity{tubID: strings.Repeat("a", 32), incarnation: "me", tls: nil})
				near, far := net.Pipe()
				peer := strings.Repeat("b", 32)
				go func() {
					r := bufio.NewReader(far)
					readBlock(r)
					h := goodHello(0)
					h["my-tub-id"] = peer
					far.Write(h.encode())
					d := block{}
					for k, v := range good {
						d[k] = v
					}
					d[tt.key] = tt.value
					if tt.key == "" {
						delete(d, "")
					}
					far.Write(d.encode())
					io.Copy(io.Discard, far)
				}()
				c, err := tub.hello(&link{raw: near, stage: time.Minute, dialed: true, want: peer}, stream{near, bufio.NewReader(near)}, peer)
				if tt.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					c.end(io.EOF)
				} else if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v; want %q", err, tt.want)
				}
				far.Close()
				near.Close()
			})
		})
	}
}

// TestPlain: the part before TLS.
func TestPlain(t *testing.T) {
	id := strings.Repeat("a", 32)
	for _, tt := range []struct{ name, request, want string }{
		{"good", "GET /id/" + id + " HTTP/1.1\r\nHost: x\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n"},
		{"unknown", "GET /id/" + strings.Repeat("b", 32) + " HTTP/1.1\r\n\r\n", "HTTP/1.1 500 Internal Server Error: unknown TubID bbbbbbbb"},
		{"a browser", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 500 Internal Server Error: not right\r\n\r\n"},
		{"strange TubID", "GET /id/\x1b[31m HTTP/1.1\r\n\r\n", "HTTP/1.1 500 Internal Server Error: not right\r\n\r\n"},
		{"empty", "\r\n", "HTTP/1.1 500 Internal Server Error: an empty request\r\n\r\n"},
		{"long", "GET /id/" + strings.Repeat("x", 5000), "HTTP/1.1 500 Internal Server Error: a block of more than 4096 bytes\r\n\r\n"},
		{"many lines", "GET /id/" + strings.Repeat("x\r\n", 2000), "HTTP/1.1 500 Internal Server Error: a block of more than 4096 bytes\r\n\r\n"},
		{"LF", "GET /id/" + id + " HTTP/1.1\n\n", "HTTP/1.1 500 Internal Server Error: a line that does not end in CR LF\r\n\r\n"},
	} {
		for _, peeked := range []int{0, 8} {
			t.Run(fmt.Sprintf("%s after %d", tt.name, peeked), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tub := newTub(Config{}, identity{tubID: id, tls: tlsConfig(tls.Certificate{})})
					near, far := net.Pipe()
					peeked := min(peeked, len(tt.request))
					go far.Write([]byte(tt.request[peeked:]))
					done := make(chan error)
					go func() { done <- tub.Serve(near, []byte(tt.request[:peeked])) }()
					got := make([]byte, len(tt.want))
					if _, err := io.ReadFull(far, got); err != nil || string(got) != tt.want {
						t.Errorf("got %q, %v; want %q", got, err, tt.want)
					}
					far.Close()
					if err := <-done; err == nil {
						t.Error("no error")
					}
				})
			})
		}
	}
}

// TestUnknownTub replays errors-01: the peer has no such Tub.
func TestUnknownTub(t *testing.T) {
	tr := readTranscript(t, "errors-01")
	synctest.Test(t, func(t *testing.T) {
		tub := newTub(Config{}, identity{tubID: strings.Repeat("b", 32), tls: nil})
		near, far := net.Pipe()
		errs := make(chan error)
		go func() {
			_, err := tub.open(t.Context(), &link{raw: near, stage: time.Minute, dialed: true, want: strings.Repeat("a", 32)}, "127.0.0.1")
			errs <- err
		}()
		expect(t, far, "the request", tr.plain[0].data)
		far.Write(tr.plain[1].data)
		want := &NegotiationError{Why: "unknown TubID " + strings.Repeat("a", 32), Remote: true}
		if got, ok := errors.AsType[*NegotiationError](<-errs); !ok || *got != *want {
			t.Errorf("got %v; want %v", got, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		tub := newTub(Config{}, identity{tubID: strings.Repeat("b", 32), tls: nil})
		near, far := net.Pipe()
		go tub.Serve(near, nil)
		far.Write(tr.plain[0].data)
		expect(t, far, "the answer", tr.plain[1].data)
	})
}

// TestHints: the nearest place first, the others when it is slow or fails, all
// with the isolation label, and no more once there is a connection.
func TestHints(t *testing.T) {
	for _, tt := range []struct {
		name  string
		prep  func(r *rig)
		hints string
		want  []string // dials, with the milliseconds
		used  string
	}{
		{"first is good", func(*rig) {}, "tcp:bob:4000,tcp:bobtwo:4000", []string{"tcp:bob:4000@0"}, "tcp:bob:4000"},
		{"clear before onion", func(*rig) {}, "tor:bobonion.onion:4000,tcp:bob:4000", []string{"tcp:bob:4000@0"}, "tcp:bob:4000"},
		{"first refuses", func(*rig) {}, "tcp:bob:4001,tcp:bobtwo:4000", []string{"tcp:bob:4001@0", "tcp:bobtwo:4000@10"}, "tcp:bobtwo:4000"},
		{"first hangs", func(r *rig) { r.net.Host("hole").Fail(memnet.Hang) }, "tcp:hole:4000,tcp:bob:4000", []string{"tcp:hole:4000@0", "tcp:bob:4000@400"}, "tcp:bob:4000"},
		{"first is silent", func(r *rig) { r.net.Host("hole").Fail(memnet.Silent) }, "tcp:hole:4000,tcp:bob:4000", []string{"tcp:hole:4000@0", "tcp:bob:4000@400"}, "tcp:bob:4000"},
		{"what cannot be used is passed by", func(*rig) {}, "i2p:xyz:4000,weird,tcp:bob:4000", []string{"tcp:bob:4000@0"}, "tcp:bob:4000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				alice, bob := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{})
				r.listen("bob", bob)
				hole, err := r.net.Host("hole").Listen(r.t.Context(), netx.Addr{Kind: netx.TCP, Host: "hole", Port: testPort})
				if err != nil {
					r.t.Fatal(err)
				}
				defer hole.Close()
				for _, name := range []string{"bobtwo", "bobonion.onion"} {
					l, err := r.net.Host("bob").Listen(r.t.Context(), netx.Addr{Kind: netx.TCP, Host: name, Port: testPort + len(name)})
					if err != nil {
						r.t.Fatal(err)
					}
					l.Close() // the name stays
				}
				tt.prep(r)
				f := bob.Register(NewSwissnum(), echo)
				f.Hints = nil
				for h := range strings.SplitSeq(tt.hints, ",") {
					hint, err := furl.ParseHint(h)
					if err != nil {
						r.t.Fatal(err)
					}
					f.Hints = append(f.Hints, hint)
				}
				start := time.Now()
				ref, err := alice.Dial(r.t.Context(), f, DialOptions{Isolation: "lane"})
				if err != nil {
					r.t.Fatal(err)
				}
				if got := ref.Conn().Info(); got.Hint != tt.used || got.Inbound || got.Peer != bob.TubID() {
					r.t.Errorf("connected by %+v; want %s", got, tt.used)
				}
				time.Sleep(10 * time.Second)
				var got []string
				for _, d := range r.net.Dials() {
					got = append(got, fmt.Sprintf("%s@%d", d.To, d.At.Sub(start).Milliseconds()))
					if d.To.Isolation != "lane" {
						r.t.Errorf("dial without isolation: %v", d.To)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(tt.want) {
					r.t.Errorf("dialled %v; want %v", got, tt.want)
				}
				if n := r.net.Open(); n != 2 {
					r.t.Errorf("%d ends of connections are open; want 2", n)
				}
			})
		})
	}
}

// TestNoWay: each place's reason is told, in bounded time, and a Tub without a
// place can only connect to us.
func TestNoWay(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		alice, bob := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{})
		hole, err := r.net.Host("hole").Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "hole", Port: testPort})
		if err != nil {
			t.Fatal(err)
		}
		defer hole.Close()
		r.net.Host("hole").Fail(memnet.Silent)
		f := bob.Register(NewSwissnum(), echo)
		a, _ := furl.ParseHint("tcp:hole:4000")
		b, _ := furl.ParseHint("tcp:nowhere:4000")
		f.Hints = []furl.Hint{a, b}
		start := time.Now()
		_, err = alice.Dial(t.Context(), f, DialOptions{})
		de, ok := errors.AsType[*DialError](err)
		if !ok || len(de.Hints) != 2 || !strings.Contains(err.Error(), "tcp:nowhere:4000: ") || !strings.Contains(err.Error(), "tcp:hole:4000: the peer said nothing in time") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("it took %v", d)
		}
		f.Hints = nil
		if _, err := alice.Dial(t.Context(), f, DialOptions{}); !errors.Is(err, ErrNoHints) {
			t.Errorf("without hints: %v", err)
		}
		r.listen("alice", alice)
		if _, err := bob.Dial(t.Context(), alice.Register(NewSwissnum(), echo), DialOptions{}); err != nil {
			t.Fatal(err)
		}
		if ref, err := alice.Dial(t.Context(), f, DialOptions{}); err != nil || !ref.Conn().Info().Inbound {
			t.Errorf("once it has connected: %v", err)
		}
	})
}

// stubborn is a network in which dialling one host takes a minute, whatever the
// context says.
type stubborn struct{ netx.Network }

func (s stubborn) Dial(ctx context.Context, a netx.Addr) (net.Conn, error) {
	if a.Host == "slow" {
		time.Sleep(time.Minute)
		return nil, errors.New("too late")
	}
	return s.Network.Dial(ctx, a)
}

// TestStubbornDial: whoever has lost the race is waited for, not polled: with
// somebody busy the time in a bubble would stand still.
func TestStubbornDial(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		alice, bob := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{})
		alice.net = stubborn{alice.net}
		r.listen("bob", bob)
		f := bob.Register(NewSwissnum(), echo)
		f.Hints = append([]furl.Hint{{Kind: furl.TCP, Host: "slow", Port: 1}}, f.Hints...)
		if _, err := alice.Dial(t.Context(), f, DialOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
	})
}

// TestDialGoesOn: that others connect meanwhile does not begin it anew.
func TestDialGoesOn(t *testing.T) {
	bubble(t, func(r *rig) {
		t, ctx := r.t, r.t.Context()
		r.net.SetLink("alice", "carol", memnet.Link{Latency: time.Second})
		alice, bob, carol := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{}), r.tub("carol", 2, Limits{})
		r.listen("bob", bob)
		r.listen("carol", carol)
		done := make(chan error)
		go func() {
			_, err := alice.Dial(ctx, carol.Register(NewSwissnum(), echo), DialOptions{})
			done <- err
		}()
		f := bob.Register(NewSwissnum(), echo)
		for range 30 {
			ref, err := alice.Dial(ctx, f, DialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			ref.conn.end(io.EOF)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		n := 0
		for _, d := range r.net.Dials() {
			if d.To.Host == "carol" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("carol was dialled %d times", n)
		}
	})
}

// TestDialIsShared: many who want one peer make one connection, and one who
// gives up does not spoil it for the others.
func TestDialIsShared(t *testing.T) {
	bubble(t, func(r *rig) {
		alice, bob := r.tub("alice", 0, Limits{}), r.tub("bob", 1, Limits{})
		r.listen("bob", bob)
		f := bob.Register(NewSwissnum(), echo)
		errs := make(chan error)
		for i := range 10 {
			go func() {
				ctx, cancel := context.WithCancel(r.t.Context())
				if i == 0 {
					time.AfterFunc(time.Millisecond, cancel)
				}
				defer cancel()
				_, err := alice.Dial(ctx, f, DialOptions{})
				if i == 0 && errors.Is(err, context.Canceled) {
					err = nil
				}
				errs <- err
			}()
		}
		for range 10 {
			if err := <-errs; err != nil {
				r.t.Error(err)
			}
		}
		if n := len(r.net.Dials()); n != 1 {
			r.t.Errorf("%d dials", n)
		}
		// All give up: nothing goes on.
		carol := r.tub("carol", 2, Limits{})
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Millisecond)
		defer cancel()
		if _, err := carol.Dial(ctx, f, DialOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			r.t.Error(err)
		}
		time.Sleep(time.Second)
		if n := r.net.Open(); n != 2 || len(carol.dials) != 0 {
			r.t.Errorf("%d ends are open; want 2", n)
		}
	})
}
