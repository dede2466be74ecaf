package sharedport

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
)

// rig is a shared port at "server", in a bubble. The first protocol begins with
// "first" and echoes; the second is accepted by the test.
type rig struct {
	t    *testing.T
	net  *memnet.Net
	port *Listener
}

func bubble(t *testing.T, half int, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: memnet.New(t)}
		l, err := r.net.Host("server").Listen(t.Context(), netx.Addr{Kind: netx.TCP, Port: 1})
		if err != nil {
			t.Fatal(err)
		}
		r.port = Split(l, Config{
			Peek: 5, First: func(head []byte) bool { return string(head) == "first" },
			Serve: func(c net.Conn, head []byte) error {
				defer c.Close()
				c.Write(head)
				_, err := io.Copy(c, c)
				return err
			},
			Half: half,
		})
		defer r.port.Close()
		f(r)
	})
}

// dial connects and says something.
func (r *rig) dial(say string) net.Conn {
	r.t.Helper()
	c, err := r.net.Host("client").Dial(r.t.Context(), netx.Addr{Kind: netx.TCP, Host: "server", Port: 1})
	if err == nil {
		_, err = io.WriteString(c, say)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

func (r *rig) read(c net.Conn, want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		r.t.Errorf("read %q, %v; want %q", got, err, want)
	}
}

func TestTwoProtocols(t *testing.T) {
	bubble(t, 0, func(r *rig) {
		first := r.dial("first and more")
		defer first.Close()
		r.read(first, "first and more")

		second := r.dial("seco") // the head comes in two pieces
		synctest.Wait()
		io.WriteString(second, "nd")
		c, err := r.port.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r.read(c, "second")
		io.WriteString(c, "back")
		r.read(second, "back")

		// No limit of ours is on either any more.
		time.Sleep(time.Hour)
		io.WriteString(first, "still")
		r.read(first, "still")
		io.WriteString(second, "too")
		r.read(c, "too")
	})
}

// ended reports when the other side closes a connection.
func ended(c net.Conn) time.Duration {
	start := time.Now()
	io.Copy(io.Discard, c)
	return time.Since(start)
}

func TestSilenceEnds(t *testing.T) {
	for name, said := range map[string]string{"nothing": "", "half a word": "firs"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 0, func(r *rig) {
				if d := ended(r.dial(said)); d != 30*time.Second {
					t.Errorf("dropped after %v, want 30 s", d)
				}
			})
		})
	}
}

// A thousand that say nothing keep out nobody; the oldest make room.
func TestCrowdOfTheSilent(t *testing.T) {
	const half = 100
	bubble(t, half, func(r *rig) {
		var silent []net.Conn
		for range 10 * half {
			silent = append(silent, r.dial(""))
			synctest.Wait()
		}
		start := time.Now()
		good := r.dial("first")
		defer good.Close()
		r.read(good, "first")
		second := r.dial("second")
		defer second.Close()
		c, err := r.port.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r.read(c, "second")
		if d := time.Since(start); d != 0 {
			t.Errorf("the good ones waited for %v", d)
		}
		for i, c := range silent[:9*half] {
			if d := ended(c); d != 0 {
				t.Fatalf("silent connection %d was kept for %v though there were newer ones", i, d)
			}
		}
		if d := ended(silent[10*half-1]); d != 30*time.Second {
			t.Errorf("the last one was dropped after %v, want 30 s", d)
		}
	})
}

func TestClose(t *testing.T) {
	bubble(t, 0, func(r *rig) {
		first, silent, waiting := r.dial("first"), r.dial(""), r.dial("second") // nobody accepts it
		defer first.Close()
		r.read(first, "first")
		synctest.Wait()
		if err := r.port.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if d := ended(silent) + ended(waiting); d != 0 {
			t.Errorf("undecided connections ended %v after Close", d)
		}
		if _, err := r.port.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		io.WriteString(first, "goes on")
		r.read(first, "goes on")
	})
}

// limping is a listener that fails for a while.
type limping struct {
	net.Listener
	fails int
}

func (l *limping) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestFailingAcceptIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: memnet.New(t)}
		l, err := r.net.Host("server").Listen(t.Context(), netx.Addr{Kind: netx.TCP, Port: 1})
		if err != nil {
			t.Fatal(err)
		}
		r.port = Split(&limping{l, 3}, Config{Peek: 1, First: func([]byte) bool { return false }, Serve: func(net.Conn, []byte) error { return nil }})
		defer r.port.Close()
		start := time.Now()
		r.dial("x")
		c, err := r.port.Accept()
		if err != nil || time.Since(start) != 300*time.Millisecond {
			t.Fatalf("accepted after %v: %v", time.Since(start), err)
		}
		c.Close()
	})
}
