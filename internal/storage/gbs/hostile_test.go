package gbs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// TestHugeBodies sends 1 GiB to calls that take little, right and wrong
// swissnum alike: the answer comes before the body does.
func TestHugeBodies(t *testing.T) {
	good := authorization(redact.New(testSwissnum))
	for _, tt := range []struct {
		name, start string
		code        int
	}{
		{"wrong swissnum", "POST " + indexPath + " HTTP/1.1\r\nAuthorization: Tahoe-LAFS eA==\r\n", 401},
		{"wrong swissnum, share", "PATCH " + sharePath + " HTTP/1.1\r\nAuthorization: Tahoe-LAFS eA==\r\n", 401},
		{"allocate", "POST " + indexPath + " HTTP/1.1\r\nAuthorization: " + good + "\r\n" + secretLines(renewLine, cancelLine, uploadLine), 413},
		{"corrupt", "POST " + sharePath + "/corrupt HTTP/1.1\r\nAuthorization: " + good + "\r\n", 413},
		{"lease", "PUT /storage/v1/lease/" + siText + " HTTP/1.1\r\nAuthorization: " + good + "\r\n" + secretLines(renewLine, cancelLine), 413},
		{"version", "GET /storage/v1/version HTTP/1.1\r\nAuthorization: " + good + "\r\n", 413},
		{"share nobody allocated", "PATCH " + sharePath + " HTTP/1.1\r\nAuthorization: " + good + "\r\nContent-Range: bytes 0-1073741823/*\r\n" + secretLines(uploadLine), 404},
	} {
		for _, framing := range []string{"Content-Length: 1073741824\r\n", "Transfer-Encoding: chunked\r\n"} {
			t.Run(tt.name+"/"+strings.Fields(framing)[0], func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t, nil, HandlerConfig{})
					c := r.dialTLS(t)
					fmt.Fprintf(c, "%sHost: x\r\n%s\r\n", tt.start, framing)
					sent := make(chan int64)
					go func() {
						var n int64
						piece := make([]byte, 64<<10)
						if strings.HasPrefix(framing, "Transfer") {
							piece = append([]byte("10000\r\n"), append(piece, '\r', '\n')...)
						}
						for n < 1<<30 {
							m, err := c.Write(piece)
							n += int64(m)
							if err != nil {
								break
							}
						}
						sent <- n
					}()
					resp, _ := readResponse(t, c, nil)
					if resp.StatusCode != tt.code {
						t.Errorf("status %d; want %d", resp.StatusCode, tt.code)
					}
					c.Close()
					if n := <-sent; n > 2<<20 {
						t.Errorf("%d bytes were taken before the connection ended", n)
					}
				})
			})
		}
	}
}

func secretLines(lines ...string) string {
	s := ""
	for _, l := range lines {
		s += secretsHeader + ": " + l + "\r\n"
	}
	return s
}

// TestNastyMessages sends deep, doubled, indefinite and overlong CBOR.
func TestNastyMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		fill(t, r.store, testIndex(t), 1, 10)
		for _, body := range seedMessages {
			if body == allocate0of10 || body == corrupt0 {
				continue
			}
			got := r.ask(t, ask{method: "POST", path: indexPath, header: head(renewLine, cancelLine, uploadLine), body: body})
			if got.code != 400 {
				t.Errorf("allocate with %.40q: %d; want 400", body, got.code)
			}
			if got := r.ask(t, ask{method: "POST", path: sharePath + "/corrupt", body: body}); got.code != 400 {
				t.Errorf("corrupt with %.40q: %d; want 400", body, got.code)
			}
		}
	})
}

// TestSlowHeaders checks that connections which do not come to the point are
// closed: in the handshake, in the header, and between requests.
func TestSlowHeaders(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begin func(t *testing.T, r *rig) net.Conn
		after time.Duration
	}{
		{"handshake", func(t *testing.T, r *rig) net.Conn {
			c, err := r.client.Dial(t.Context(), r.addr)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}, 10 * time.Second},
		{"header", func(t *testing.T, r *rig) net.Conn {
			c := r.dialTLS(t)
			io.WriteString(c, "GET /storage/v1/version HTTP/1.1\r\nHost: ")
			go func() {
				for { // a byte now and then does not help
					time.Sleep(3 * time.Second)
					if _, err := c.Write([]byte("x")); err != nil {
						return
					}
				}
			}()
			return c
		}, 10 * time.Second},
		{"idle", func(t *testing.T, r *rig) net.Conn {
			c := r.dialTLS(t)
			fmt.Fprintf(c, "GET /storage/v1/version HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", authorization(redact.New(testSwissnum)))
			readResponse(t, c, nil)
			return c
		}, 120 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, nil, HandlerConfig{})
				c := tt.begin(t, r)
				defer c.Close()
				start := time.Now()
				io.Copy(io.Discard, c)
				defer time.Sleep(10 * time.Second) // for the writer to notice
				if took := time.Since(start); took < tt.after-time.Second || took > tt.after+2*time.Second {
					t.Errorf("closed after %v; want about %v", took, tt.after)
				}
			})
		})
	}
}

// TestSlowReader checks that a client which does not take its answer is left.
func TestSlowReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		fill(t, r.store, testIndex(t), 1, 8<<20)
		c := r.dialTLS(t)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", sharePath, authorization(redact.New(testSwissnum)))
		time.Sleep(6 * time.Minute) // the stall, and 256 KiB at 1 KiB/s
		n, _ := io.Copy(io.Discard, c)
		if n >= 8<<20 {
			t.Errorf("the whole answer came, %d bytes, after 6 minutes of not reading", n)
		}
	})
}

// TestDeadlinesEnd checks that the deadlines of one request do not strike a
// later one on the same connection, be it answered or refused.
func TestDeadlinesEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{Stall: 5 * time.Second})
		c := r.dialTLS(t)
		br := bufio.NewReader(c)
		for _, path := range []string{"/storage/v1/version", "/nothing", "/nothing", "/storage/v1/version"} {
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", path, authorization(redact.New(testSwissnum)))
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("GET %s on a kept connection: %v", path, err)
			}
			io.Copy(io.Discard, resp.Body)
			time.Sleep(100 * time.Second)
		}
	})
}

// TestOptions checks that net/http answers nothing by itself that the
// handler would refuse.
func TestOptions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		c := r.dialTLS(t)
		io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, _ := readResponse(t, c, nil); resp.StatusCode != 401 {
			t.Errorf("OPTIONS *: %d; want 401", resp.StatusCode)
		}
	})
}

// TestClientLeaves checks that a request whose client has left is not held up
// by a store that hangs.
func TestClientLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &hanging{left: make(chan struct{})}
		r := newRig(t, store, HandlerConfig{})
		for _, call := range []func(ctx context.Context, c *Client) error{
			func(ctx context.Context, c *Client) error { _, err := c.Version(ctx); return err },
			func(ctx context.Context, c *Client) error { _, err := c.Shares(ctx, storage.Index{}); return err },
			func(ctx context.Context, c *Client) error { return c.AddLease(ctx, storage.Index{}, benchLeases) },
			func(ctx context.Context, c *Client) error {
				_, err := c.Allocate(ctx, storage.Index{}, []storage.ShareNum{0}, 10, benchLeases)
				return err
			},
			func(ctx context.Context, c *Client) error {
				_, err := c.ReadSlot(ctx, storage.Index{}, nil, nil)
				return err
			},
			func(ctx context.Context, c *Client) error {
				_, err := c.TestAndWrite(ctx, storage.Index{}, testEnabler, benchLeases, nil, nil)
				return err
			},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { synctest.Wait(); cancel() }()
			if err := call(ctx, r.newClient(t, Config{})); !errors.Is(err, context.Canceled) {
				t.Errorf("call: %v", err)
			}
			start := time.Now()
			<-store.left
			if took := time.Since(start); took > time.Second {
				t.Errorf("the store was let go after %v", took)
			}
		}
	})
}

// hanging is a store that waits until it may go.
type hanging struct{ left chan struct{} }

func (h *hanging) hang(ctx context.Context) error {
	<-ctx.Done()
	h.left <- struct{}{}
	return ctx.Err()
}
func (h *hanging) Version(ctx context.Context) (storage.Version, error) {
	return storage.Version{}, h.hang(ctx)
}
func (h *hanging) AddLease(ctx context.Context, _ storage.Index, _ storage.LeaseSecrets) error {
	return h.hang(ctx)
}
func (h *hanging) Shares(ctx context.Context, _ storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	return nil, h.hang(ctx)
}
func (h *hanging) ReadSlot(ctx context.Context, _ storage.Index, _ []storage.ShareNum, _ []storage.Span) (map[storage.ShareNum][][]byte, error) {
	return nil, h.hang(ctx)
}
func (h *hanging) TestAndWrite(ctx context.Context, _ storage.Index, _ storage.WriteEnabler, _ storage.LeaseSecrets, _ map[storage.ShareNum]storage.SlotWrite, _ []storage.Span) (*storage.SlotResult, error) {
	return nil, h.hang(ctx)
}
func (h *hanging) ReportCorruptSlot(ctx context.Context, _ storage.Index, _ storage.ShareNum, _ string) error {
	return h.hang(ctx)
}
func (h *hanging) Allocate(ctx context.Context, _ storage.Index, _ []storage.ShareNum, _ int64, _ storage.LeaseSecrets) (*storage.Allocation, error) {
	return nil, h.hang(ctx)
}

// TestTooManyConnections checks that idle connections make room for new ones
// and working ones do not.
func TestTooManyConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{MaxConns: 20, HeaderTimeout: time.Hour, IdleTimeout: time.Hour})
		// One connection in the middle of an upload, then a crowd.
		r.begin(t, uploadLine, 100, 0)
		up := r.dialTLS(t)
		data := shareBytes(0, 100)
		fmt.Fprintf(up, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%sContent-Range: bytes 0-99/*\r\nContent-Length: 100\r\n\r\n%s",
			sharePath, authorization(redact.New(testSwissnum)), secretLines(uploadLine), data[:50])
		for range 100 {
			r.dialTLS(t)
		}
		synctest.Wait()
		if open := r.net.Open(); open > 20+101 { // the clients' ends never close
			t.Errorf("%d ends open; want the server to hold 20", open)
		}
		if _, err := r.newClient(t, Config{}).Version(t.Context()); err != nil {
			t.Errorf("a good client in the crowd: %v", err)
		}
		up.Write(data[50:])
		if resp, _ := readResponse(t, up, nil); resp.StatusCode != 201 {
			t.Errorf("the upload from before the crowd: %d", resp.StatusCode)
		}
	})
}

// TestNoLeaks checks that goroutines and descriptors do not grow with calls,
// failed handshakes, cut uploads and refused dials.
func TestNoLeaks(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	fds := countFDs()
	r := newLoopbackRig(t, nil, HandlerConfig{})
	c := NewClient(Config{Network: r.client, NURL: r.nurl()})
	wrong := NewClient(Config{Network: r.client, NURL: furl.NURL{Host: r.addr.Host, Port: r.addr.Port, Swissnum: redact.New("x")}})
	nobody := NewClient(Config{Network: r.client, NURL: furl.NURL{Host: "127.0.0.1", Port: 1, Swissnum: redact.New("x")}})
	for i := range 200 {
		var si storage.Index
		si[0] = byte(i)
		a, err := c.Allocate(t.Context(), si, []storage.ShareNum{0, 1}, 10, benchLeases)
		if err != nil {
			t.Fatal(err)
		}
		a.Writers[0].WriteAt(t.Context(), make([]byte, 10), 0)
		a.Writers[0].Close(t.Context())
		a.Writers[1].Abort(t.Context())
		c.Shares(t.Context(), si)
		if i%20 == 0 {
			if _, err := wrong.Version(t.Context()); !errors.Is(err, ErrPin) {
				t.Errorf("wrong pin: %v", err)
			}
		}
		if _, err := nobody.Version(t.Context()); err == nil {
			t.Error("somebody listens at port 1")
		}
	}
	c.Close()
	wrong.Close()
	nobody.Close()
	r.stop()
	goleak.VerifyNone(t, ignore)
	if now := countFDs(); now > fds {
		t.Errorf("%d descriptors open; there were %d", now, fds)
	}
}

// countFDs returns 0 where there is no /proc.
func countFDs() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// TestNoSecrets goes through calls that fail in every way and looks for
// secrets and client addresses in logs and errors.
func TestNoSecrets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, &failing{errors.New("broken")}, HandlerConfig{})
		canaries := []string{testSwissnum, authorization(redact.New(testSwissnum))[len(authScheme):]}
		secret := func(n int) redact.Secret {
			b := make([]byte, n)
			for i := range b {
				b[i] = 'a' + byte(rand.N(26))
			}
			s := redact.New(string(b))
			line := secretLine(uploadSecret, s.Reveal())
			canaries = append(canaries, s.Reveal(), strings.Fields(line)[1])
			return s
		}
		ls := storage.LeaseSecrets{Renew: secret(32), Cancel: secret(32)}
		var said []string
		say := func(err error) {
			if err == nil {
				t.Error("a call succeeded")
			}
			said = append(said, fmt.Sprintf("%v %+v %#v %q", err, err, err, err))
		}
		calls := func(c *Client) {
			_, err := c.Version(t.Context())
			say(err)
			_, err = c.Shares(t.Context(), testIndex(t))
			say(err)
			_, err = c.Allocate(t.Context(), testIndex(t), []storage.ShareNum{0}, 5, ls)
			say(err)
			say(c.AddLease(t.Context(), testIndex(t), ls))
			w := &shareWriter{c: c, path: path{res: resShare, si: testIndex(t)}, secret: secret(20), size: 10}
			say(w.WriteAt(t.Context(), []byte("abc"), 0))
			said = append(said, fmt.Sprintf("%v %+v %#v %+v %#v", w, w, w, c.cfg, c.cfg))
			_, err = shareReader{c, w.path}.ReadAt(t.Context(), make([]byte, 5), 0)
			say(err)
			say(shareReader{c, w.path}.ReportCorrupt(t.Context(), "bad"))
			enabler := secret(32)
			we := storage.NewWriteEnabler([32]byte([]byte(enabler.Reveal())))
			_, err = c.TestAndWrite(t.Context(), testIndex(t), we, ls, nil, nil)
			say(err)
			_, err = c.ReadSlot(t.Context(), testIndex(t), nil, nil)
			say(err)
			said = append(said, fmt.Sprintf("%v %+v %#v", we, we, we))
		}
		calls(r.newClient(t, Config{}))                                                                                          // 500s
		calls(r.newClient(t, Config{NURL: furl.NURL{SPKI: testCert().SPKI(), Host: "server", Port: 443, Swissnum: secret(32)}})) // 401s
		calls(r.newClient(t, Config{NURL: furl.NURL{Host: "server", Port: 443, Swissnum: secret(32)}}))                          // wrong pin
		calls(r.newClient(t, Config{NURL: furl.NURL{SPKI: testCert().SPKI(), Host: "nowhere", Port: 1, Swissnum: secret(32)}}))  // no such host
		echo := newFake(t, echoHeaders)
		calls(echo.newClient(t, Config{})) // quotes every header
		said = append(said, fmt.Sprintf("%+v %#v", r.handler.cfg, r.handler.cfg))

		all := r.log.String() + strings.Join(said, "\n")
		for _, c := range canaries {
			if strings.Contains(all, c) {
				t.Errorf("secret %q shows", c)
			}
		}
		if r.log.String() == "" || strings.Contains(r.log.String(), "client:") {
			t.Errorf("log %q; want warnings, and no client address", r.log)
		}
	})
}

// echoHeaders answers 400 with the headers it was sent.
func echoHeaders(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(400)
	fmt.Fprintln(w, "Bad header values:", r.Header)
}
