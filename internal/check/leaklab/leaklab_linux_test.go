package leaklab

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tahoe-go/internal/check/leakcheck"
)

// buildLeaky builds the program of testdata.
func buildLeaky(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "leaky")
	cmd := exec.Command("go", "build", "-o", bin, "./testdata/leaky")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the product is
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building leaky: %v: %s", err, out)
	}
	return bin
}

// Each way to leak shows in the counters meant for it, and what is no leak
// shows in none.
func TestCatches(t *testing.T) {
	bin := buildLeaky(t)
	type seen struct{ tcp, udp, dns, other, loDNS, sockets bool }
	for _, tt := range []struct {
		way  string
		want seen
		say  string // in what is shown of it
	}{
		{"nothing", seen{}, ""},
		{"loopback", seen{}, ""},
		{"tcp4", seen{tcp: true, sockets: true}, "TCP to 203.0.113.7:443 SYN"},
		{"tcp6", seen{tcp: true, sockets: true}, "TCP to [2001:db8::7]:443 SYN"},
		{"udp", seen{udp: true, sockets: true}, `UDP to 203.0.113.7:9999 "here I am"`},
		{"udp connect", seen{sockets: true}, "UDP connected to 203.0.113.7:9"},
		{"lookup", seen{dns: true, sockets: true}, "asks for leak.example.org. TypeA"},
		{"onion lookup", seen{}, ""}, // Go's resolver refuses onion names itself
		{"http", seen{tcp: true, dns: true, sockets: true}, `"GET / HTTP/1.1`},
		{"listen", seen{sockets: true}, "TCP bound to ::"},
		{"listen udp", seen{sockets: true}, "UDP bound to ::"},
		{"local resolver", seen{loDNS: true}, "1 name queries over loopback"},
	} {
		t.Run(tt.way, func(t *testing.T) {
			leakcheck.Check(t)
			l := New(t)
			out, err := l.Command(t.Context(), bin, tt.way).CombinedOutput()
			if err != nil && tt.way != "onion lookup" {
				t.Errorf("leaky %s: %v: %s", tt.way, err, out)
			}
			c := l.Counters()
			got := seen{c.TCP > 0, c.UDP > 0, c.DNS > 0, c.Other > 0, c.LoDNS > 0, len(c.Sockets) > 0}
			if got != tt.want || !strings.Contains(c.String(), tt.say) || c.Leaked() != (tt.want != seen{}) {
				t.Errorf("seen %+v; want %+v, and %q in:\n%v", got, tt.want, tt.say, c)
			}
		})
	}
}

// A listener that is still open counts too, and ends with the Lab.
func TestStillRunning(t *testing.T) {
	l := New(t)
	cmd := l.Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ln, err := l.sut.listen("tcp", "10.201.0.2:99")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if got := l.Counters().Sockets; len(got) != 1 || got[0] != "TCP bound to 10.201.0.2" {
		t.Errorf("sockets %q; want the one listener", got)
	}
	l.killAll()
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("a process that was left ended with %v; want it killed", err)
	}
}

// Loopback ports cross both ways, and nothing of it is a leak.
func TestForward(t *testing.T) {
	leakcheck.Check(t)
	l := New(t)
	echo := func(ln net.Listener) {
		t.Cleanup(func() { ln.Close() })
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
			c.Close()
		}()
	}
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echo(outside)
	inside, err := l.sut.listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echo(inside)
	l.ForwardIn("127.0.0.1:9050", outside.Addr().String())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	l.ForwardOut(free.Addr().String(), inside.Addr().String())

	in, err := l.Dial(t.Context(), "127.0.0.1:9050")
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("tcp", free.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{in, out} {
		io.WriteString(c, "across")
		c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "across" || err != nil {
			t.Errorf("%q, %v came back; want it across and back", got, err)
		}
		c.Close()
	}
	l.Zero()
}

// The resolver's file is the Lab's for its commands, and the machine's for the
// rest.
func TestResolvConf(t *testing.T) {
	l := New(t)
	inside, err := l.Command(t.Context(), "cat", "/etc/resolv.conf").Output()
	if err != nil || !strings.Contains(string(inside), sinkAddr4) {
		t.Errorf("inside: %q, %v", inside, err)
	}
	wrap := append(l.Wrap(), "cat", "/etc/resolv.conf")
	if wrapped, err := exec.Command(wrap[0], wrap[1:]...).Output(); err != nil || string(wrapped) != string(inside) {
		t.Errorf("wrapped: %q, %v", wrapped, err)
	}
	if outside, err := os.ReadFile("/etc/resolv.conf"); err == nil && strings.Contains(string(outside), sinkAddr4) {
		t.Errorf("outside: %q", outside)
	}
}

// Who ends a Lab ends no thread: a process that was started from it, and is to
// die with its parent, lives on.
func TestEndsNobody(t *testing.T) {
	New(t) // or there is none here
	n, err := newNetns()
	if err != nil {
		t.Fatal(err)
	}
	var thread string
	n.do(func() error { thread = fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()); return nil })
	inside, err := os.Readlink(thread)
	if err != nil {
		t.Fatal(err)
	}
	n.close()
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if now, err := os.Readlink(thread); err != nil || now != ours || inside == ours {
		t.Errorf("the thread is in %q, %v; it was in %q and belongs into %q", now, err, inside, ours)
	}
}
