package memnet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"reflect"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/network/netx"
)

// took runs f and says how long it lasted, in the bubble's time.
func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestLatencyAndBandwidth(t *testing.T) {
	for _, tt := range []struct {
		name      string
		link      Link
		size      int
		dial, all time.Duration
	}{
		{"at once", Link{}, 1 << 20, 0, 0},
		{"latency", Link{Latency: 300 * time.Millisecond}, 1000, 600 * time.Millisecond, 300 * time.Millisecond},
		{"bandwidth", Link{Bandwidth: 1 << 20}, 4 << 20, 0, 4 * time.Second},
		{"both", Link{Latency: time.Second, Bandwidth: 1 << 20, Buffer: 8 << 20}, 4 << 20, 2 * time.Second, 5 * time.Second},
		// A window of 64 KiB per second of latency is all that is under way.
		{"window", Link{Latency: time.Second, Buffer: 64 << 10}, 256 << 10, 2 * time.Second, 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(t)
				n.SetDefault(tt.link)
				var c, s *Conn
				if d := took(func() { c, s = connect(t, n, "a", "b") }); d != tt.dial {
					t.Errorf("dialling took %v, want %v", d, tt.dial)
				}
				sent := bytes.Repeat([]byte("0123456789abcdef"), tt.size/16)
				go func() {
					c.Write(sent)
					c.Close()
				}()
				var got []byte
				var err error
				if d := took(func() { got, err = io.ReadAll(s) }); d.Round(time.Microsecond) != tt.all || err != nil {
					t.Errorf("%d bytes took %v, %v; want %v", tt.size, d, err, tt.all)
				}
				if !bytes.Equal(got, sent) {
					t.Errorf("%d bytes sent, %d others came", len(sent), len(got))
				}
			})
		})
	}
}

// Two connections of one pair of hosts share its line; another pair does not.
func TestBandwidthIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		n.SetDefault(Link{Bandwidth: 1 << 20})
		results := make(chan time.Duration, 3)
		for _, from := range []string{"a", "a", "z"} {
			c, s := connect(t, n, from, "b")
			go func() { c.Write(make([]byte, 1<<20)); c.Close() }()
			go func() { results <- took(func() { io.Copy(io.Discard, s) }) }()
		}
		// z is done after 1 s; of the two from a, which share, the last after 2 s.
		first, _, last := (<-results).Round(time.Microsecond), <-results, (<-results).Round(time.Microsecond)
		if first != time.Second || last != 2*time.Second {
			t.Errorf("first done after %v, last after %v; want 1s and 2s", first, last)
		}
	})
}

func TestDialFaults(t *testing.T) {
	to := netx.Addr{Kind: netx.TCP, Host: "b", Port: 80}
	for _, tt := range []struct {
		name string
		do   func(n *Net)
		to   netx.Addr
		want error
		took time.Duration
	}{
		{"fine", func(*Net) {}, to, nil, 2 * time.Second},
		{"refuse", func(n *Net) { n.Host("b").Fail(Refuse) }, to, syscall.ECONNREFUSED, 2 * time.Second},
		{"wrong port", func(*Net) {}, netx.Addr{Kind: netx.TCP, Host: "b", Port: 81}, syscall.ECONNREFUSED, 2 * time.Second},
		{"loopback of another", func(n *Net) {
			n.Host("b").Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: 82})
		}, netx.Addr{Kind: netx.TCP, Host: "b", Port: 82}, syscall.ECONNREFUSED, 2 * time.Second},
		{"hang", func(n *Net) { n.Host("b").Fail(Hang) }, to, context.DeadlineExceeded, time.Minute},
		{"we hang", func(n *Net) { n.Host("a").Fail(Hang) }, to, context.DeadlineExceeded, time.Minute},
		{"silent", func(n *Net) { n.Host("b").Fail(Silent) }, to, nil, 2 * time.Second},
		{"partition", func(n *Net) { n.Partition("b", "a") }, to, context.DeadlineExceeded, time.Minute},
		{"partition elsewhere", func(n *Net) { n.Partition("b", "c") }, to, nil, 2 * time.Second},
		{"healed meanwhile", func(n *Net) {
			n.Partition("a", "b")
			time.AfterFunc(30*time.Second, func() { n.Heal("a", "b") })
		}, to, nil, 32 * time.Second},
		{"closed meanwhile", func(n *Net) {
			n.Host("b").Fail(Hang)
			time.AfterFunc(30*time.Second, n.Close)
		}, to, errNetClosed, 32 * time.Second},
		{"too far", func(n *Net) { n.SetLink("a", "b", Link{Latency: time.Hour}) }, to, context.DeadlineExceeded, time.Minute},
		{"onion by another name", func(n *Net) {
			n.Host("b").Listen(t.Context(), netx.Addr{Kind: netx.Tor, Host: "x.onion", Port: 1})
		}, netx.Addr{Kind: netx.TCP, Host: "X.ONION.", Port: 1}, nil, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(t)
				n.SetDefault(Link{Latency: time.Second})
				if _, err := n.Host("b").Listen(t.Context(), to); err != nil {
					t.Fatal(err)
				}
				tt.do(n)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var err error
				if d := took(func() { _, err = n.Host("a").Dial(ctx, tt.to) }); d != tt.took {
					t.Errorf("took %v, want %v", d, tt.took)
				}
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if ne, ok := errors.AsType[net.Error](err); ok != (tt.want != nil) || ok && ne.Timeout() != (tt.want == context.DeadlineExceeded) {
					t.Errorf("got %v: not what package net would say", err)
				}
				want := []Dial{{From: "a", To: tt.to, At: n.Dials()[0].At}}
				if got := n.Dials(); !reflect.DeepEqual(got, want) {
					t.Errorf("dials recorded: %v, want %v", got, want)
				}
			})
		})
	}
}

func TestUnknownHost(t *testing.T) {
	_, err := New(t).Host("a").Dial(t.Context(), netx.Addr{Kind: netx.TCP, Host: "nobody", Port: 1})
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
		t.Errorf("got %v", err)
	}
}

// How a connection ends, as each side sees it.
func TestEndings(t *testing.T) {
	one := make([]byte, 1)
	for _, tt := range []struct {
		name string
		do   func(c, s *Conn)
		data string // what c reads
		err  error  // then; nil: to the end
	}{
		{"fin", func(c, s *Conn) { io.WriteString(s, "bye"); s.Close() }, "bye", nil},
		{"half", func(c, s *Conn) { io.WriteString(s, "bye"); s.CloseWrite() }, "bye", nil},
		{"abort", func(c, s *Conn) { io.WriteString(s, "bye"); s.Abort() }, "bye", syscall.ECONNRESET},
		{"unread", func(c, s *Conn) {
			io.WriteString(c, "ab")
			s.Read(one) // waits for both bytes, leaves the second
			s.Close()
		}, "", syscall.ECONNRESET},
		{"unread on the way", func(c, s *Conn) { io.WriteString(c, "a"); io.WriteString(s, "bye"); s.Close() }, "bye", nil},
		{"cut", func(c, s *Conn) { io.WriteString(s, "bye"); s.wire.net.Cut("b", "a") }, "", syscall.ECONNRESET},
		{"cut late", func(c, s *Conn) {
			io.WriteString(s, "bye")
			time.Sleep(2 * time.Second)
			s.wire.net.Cut("b", "a")
		}, "bye", syscall.ECONNRESET},
		{"cut others", func(c, s *Conn) { io.WriteString(s, "bye"); s.wire.net.Cut("b", "c"); s.Close() }, "bye", nil},
		{"network closed", func(c, s *Conn) { io.WriteString(s, "bye"); s.wire.net.Close() }, "", errNetClosed},
		{"deadline", func(c, s *Conn) {
			io.WriteString(s, "bye")
			c.SetReadDeadline(time.Now().Add(time.Minute))
		}, "bye", os.ErrDeadlineExceeded},
		{"silence", func(c, s *Conn) {
			io.WriteString(s, "bye")
			c.wire.ends[1].host.Fail(Hang)
			c.SetReadDeadline(time.Now().Add(time.Minute))
		}, "", os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(t)
				n.SetDefault(Link{Latency: time.Second})
				c, s := connect(t, n, "a", "b")
				tt.do(c, s)
				got, err := io.ReadAll(c)
				if string(got) != tt.data || !errors.Is(err, tt.err) {
					t.Errorf("read %q, %v; want %q, %v", got, err, tt.data, tt.err)
				}
			})
		})
	}
}

// A write to someone gone succeeds, and the next one after a round trip fails.
func TestWriteToClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		n.SetDefault(Link{Latency: time.Second})
		c, s := connect(t, n, "a", "b")
		s.Close()
		time.Sleep(time.Second)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("first write: %v", err)
		}
		time.Sleep(2*time.Second - time.Millisecond)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("before the reset is here: %v", err)
		}
		time.Sleep(time.Millisecond)
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("after the reset: %v", err)
		}
		c.Close()
		if _, err := c.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if n.Open() != 0 || len(n.wires) != 0 {
			t.Errorf("%d ends open, %d wires kept", n.Open(), len(n.wires))
		}
	})
}

// The buffer is bounded: a writer whose reader sleeps waits, and is freed by
// the reader, by its deadline, or by Close from another goroutine.
func TestBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		n.SetDefault(Link{Buffer: 1000})
		c, s := connect(t, n, "a", "b")
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		if m, err := c.Write(make([]byte, 5000)); m != 1000 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v; want 1000 and a timeout", m, err)
		}
		c.SetWriteDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { s.Read(make([]byte, 10)) })
		if m, err := c.Write(make([]byte, 10)); m != 10 || err != nil {
			t.Errorf("wrote %d, %v", m, err)
		}
		time.AfterFunc(time.Second, func() { c.Close() })
		if m, err := c.Write(make([]byte, 10)); m != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("wrote %d, %v", m, err)
		}
	})
}

func TestPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		c, s := connect(t, n, "a", "b")
		n.Partition("a", "b")
		time.AfterFunc(time.Hour, func() { n.Heal("a", "b") })
		io.WriteString(c, "late")
		c.Close()
		var got []byte
		var err error
		if d := took(func() { got, err = io.ReadAll(s) }); d != time.Hour || string(got) != "late" || err != nil {
			t.Errorf("got %q, %v after %v", got, err, d)
		}
	})
}

func TestCutAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		n.SetLink("a", "b", Link{CutAfter: 100_000})
		c, s := connect(t, n, "a", "b")
		go c.Write(make([]byte, 1<<20))
		m, err := io.Copy(io.Discard, s)
		if m < 100_000 || m > 100_000+chunk || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d bytes came, then %v", m, err)
		}
	})
}

// A silent host takes bytes up to its buffer and never answers.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		l, _ := n.Host("b").Listen(t.Context(), netx.Addr{Kind: netx.TCP, Port: 80})
		n.Host("b").Fail(Silent)
		c, err := n.Host("a").Dial(t.Context(), netx.Addr{Kind: netx.TCP, Host: "b", Port: 80})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if c, err := l.Accept(); err == nil {
				t.Error("accepted", c)
			}
		}()
		c.SetDeadline(time.Now().Add(time.Hour))
		if m, err := c.Write(make([]byte, 1<<20)); m != defaultBuffer || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v", m, err)
		}
		c.Close()
		if len(n.wires) != 0 {
			t.Error("the connection is kept")
		}
	})
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		b, addr := n.Host("b"), netx.Addr{Kind: netx.TCP, Host: "b", Port: 80}
		l, err := b.Listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Listen(t.Context(), addr); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listener: %v", err)
		}
		if _, err := n.Host("c").Listen(t.Context(), addr); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("another host's name: %v", err)
		}
		// As many as the backlog holds connect; one more waits its turn.
		var last net.Conn
		for range backlog {
			if last, err = n.Host("a").Dial(t.Context(), addr); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host("a").Dial(ctx, addr); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beyond the backlog: %v", err)
		}
		l.Close()
		if _, err := last.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("never accepted, and reads: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second close: %v", err)
		}
		if _, err = b.Listen(t.Context(), addr); err != nil {
			t.Errorf("listening again: %v", err)
		}
	})
}

func TestUnixAndLoopbackAreLocal(t *testing.T) {
	n := New(t)
	a, b := n.Host("a"), n.Host("b")
	for _, addr := range []netx.Addr{{Kind: netx.Unix, Host: "/s"}, {Kind: netx.TCP, Host: "127.0.0.1", Port: 80}} {
		if _, err := a.Listen(t.Context(), addr); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Dial(t.Context(), addr); err != nil {
			t.Errorf("%v from here: %v", addr, err)
		}
		if _, err := b.Dial(t.Context(), addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v from elsewhere: %v", addr, err)
		}
	}
}

// What the package is for: real TLS and HTTP in a bubble, one server hung, the
// others slow, done in exactly the client's timeout.
func TestHTTPSInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t)
		cert := selfSigned(t)
		client := n.Host("client")
		type result struct {
			name string
			err  error
		}
		results := make(chan result)
		for i := range 5 {
			name := fmt.Sprint("server", i)
			l, err := n.Host(name).Listen(t.Context(), netx.Addr{Kind: netx.TCP, Port: 443})
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, got, err)
			})}
			go srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
			t.Cleanup(func() { srv.Close() })
			n.SetLink("client", name, Link{Latency: time.Duration(i) * 100 * time.Millisecond, Bandwidth: 1 << 20})
			if i == 4 {
				n.Host(name).Fail(Hang)
			}
			go func() {
				c := netx.HTTPClient(client, netx.Addr{Kind: netx.TCP, Host: name, Port: 443}, &tls.Config{
					InsecureSkipVerify: true,
					VerifyConnection: func(s tls.ConnectionState) error {
						if !bytes.Equal(s.PeerCertificates[0].Raw, cert.Certificate[0]) {
							return errors.New("wrong key")
						}
						return nil
					}}, netx.HTTPOptions{})
				defer c.CloseIdleConnections()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, "PUT", "https://x/share", bytes.NewReader(make([]byte, 350<<10)))
				resp, err := c.Do(req)
				if err == nil {
					var body []byte
					body, err = io.ReadAll(resp.Body)
					resp.Body.Close()
					if string(body) != fmt.Sprint(350<<10, nil) {
						err = fmt.Errorf("answer %q", body)
					}
				}
				results <- result{name, err}
			}()
		}
		d := took(func() {
			for i := range 5 {
				r := <-results
				if r.name != fmt.Sprint("server", i) || (r.err == nil) != (i < 4) {
					t.Errorf("result %d: %v", i, r)
				}
			}
		})
		if d != 10*time.Second {
			t.Errorf("took %v, want exactly 10 s", d)
		}
	})
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
