package socks_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/network/tor/socks"
)

// step is what a scripted proxy reads, then writes.
type step struct{ read, write string }

// proxy plays steps at one end of a pipe and hands out the other. After the
// steps it echoes, unless a read differs, in which case it reports.
func proxy(t *testing.T, steps ...step) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	t.Cleanup(func() { client.Close(); server.Close(); <-done })
	go func() {
		defer close(done)
		for _, s := range steps {
			got := make([]byte, len(s.read))
			if _, err := io.ReadFull(server, got); err != nil {
				return
			}
			if string(got) != s.read {
				t.Errorf("proxy read %q, want %q", got, s.read)
				server.Close()
				return
			}
			if _, err := io.WriteString(server, s.write); err != nil {
				return
			}
		}
		io.Copy(server, server)
	}()
	return client
}

const okReply = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"

func TestConnectSendsNamesAndCredentials(t *testing.T) {
	const host = "2s4yqjx5ul6okpp3f2gaunr2syex5jgbfpfvhxxbbjwnrsvbk5v3qbid.onion"
	for _, tt := range []struct {
		name  string
		auth  socks.Auth
		host  string
		steps []step
	}{
		{"no credentials", socks.Auth{}, "example.org", []step{
			{"\x05\x01\x00", "\x05\x00"},
			{"\x05\x01\x00\x03\x0bexample.org\x01\xbb", okReply}}},
		{"credentials", socks.Auth{User: "u", Password: "pw"}, host, []step{
			{"\x05\x01\x02", "\x05\x02"},
			{"\x01\x01u\x02pw", "\x01\x00"},
			{"\x05\x01\x00\x03\x3e" + host + "\x01\xbb", okReply}}},
		{"ip literal goes as a name", socks.Auth{}, "198.51.100.7", []step{
			{"\x05\x01\x00", "\x05\x00"},
			{"\x05\x01\x00\x03\x0c198.51.100.7\x01\xbb", okReply}}},
		{"reply with ipv6 address", socks.Auth{}, "h", []step{
			{"\x05\x01\x00", "\x05\x00"},
			{"\x05\x01\x00\x03\x01h\x01\xbb", "\x05\x00\x00\x04" + strings.Repeat("\x00", 18)}}},
		{"reply with name", socks.Auth{}, "h", []step{
			{"\x05\x01\x00", "\x05\x00"},
			{"\x05\x01\x00\x03\x01h\x01\xbb", "\x05\x00\x00\x03\x02ab\x00\x00"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := proxy(t, tt.steps...)
			if err := socks.Connect(t.Context(), conn, tt.auth, tt.host, 443); err != nil {
				t.Fatal(err)
			}
			// What follows the reply is ours, from the first byte.
			go io.WriteString(conn, "ping")
			got := make([]byte, 4)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
				t.Errorf("through the proxy: %q, %v", got, err)
			}
		})
	}
}

func TestConnectRefusals(t *testing.T) {
	ask := step{"\x05\x01\x00\x03\x01h\x00\x50", ""}
	for _, tt := range []struct {
		code  byte
		says  string
		fresh bool
	}{
		{0x01, "nothing answered", true},
		{0x02, "configuration", false},
		{0x03, "network", false},
		{0x04, "no such host", true},
		{0x05, "nothing listens on this port", false},
		{0x06, "in time", true},
		{0x07, "is it Tor?", false},
		{0x08, "is it Tor?", false},
		{0xF0, "not published", false},
		{0xF1, "broken onion record", false},
		{0xF2, "introduction failed", true},
		{0xF3, "rendezvous failed", true},
		{0xF4, "you have none", false},
		{0xF5, "not accepted", false},
		{0xF6, "mistyped", false},
		{0xF7, "timed out", true},
		{0x99, "no common number", false},
	} {
		ask.write = "\x05" + string([]byte{tt.code}) + okReply[2:]
		err := socks.Connect(t.Context(), proxy(t, step{"\x05\x01\x00", "\x05\x00"}, ask), socks.Auth{}, "h", 80)
		refused, ok := errors.AsType[*socks.Error](err)
		if !ok || byte(refused.Code) != tt.code {
			t.Errorf("reply %02x: error = %v", tt.code, err)
			continue
		}
		if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("reply %02x: error %q does not say %q", tt.code, err, tt.says)
		}
		if refused.FreshCircuitHelps() != tt.fresh {
			t.Errorf("reply %02x: FreshCircuitHelps = %v, want %v", tt.code, !tt.fresh, tt.fresh)
		}
		if onion := tt.code >= 0xF0; refused.Onion() != onion {
			t.Errorf("reply %02x: Onion = %v, want %v", tt.code, !onion, onion)
		}
	}
}

func TestConnectProtocolErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"http", []step{{"\x05\x01\x00", "HTTP/1.1 400 Bad Request\r\n\r\n"}}},
		{"other version in reply", []step{{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x03\x01h\x00\x50", "\x04" + okReply[1:]}}},
		{"unknown address type", []step{{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x03\x01h\x00\x50", "\x05\x00\x00\x02" + okReply[4:]}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := socks.Connect(t.Context(), proxy(t, tt.steps...), socks.Auth{}, "h", 80); !errors.Is(err, socks.ErrProtocol) {
				t.Errorf("error = %v, want %v", err, socks.ErrProtocol)
			}
		})
	}
}

func TestConnectRefusesWhatDoesNotFit(t *testing.T) {
	long := strings.Repeat("a", 256)
	for _, tt := range []struct {
		name string
		auth socks.Auth
		host string
		port int
	}{
		{"long host", socks.Auth{}, long, 80},
		{"no host", socks.Auth{}, "", 80},
		{"port 0", socks.Auth{}, "h", 0},
		{"port 65536", socks.Auth{}, "h", 65536},
		{"long user", socks.Auth{User: long, Password: "p"}, "h", 80},
		{"no password", socks.Auth{User: "u"}, "h", 80},
	} {
		if err := socks.Connect(t.Context(), proxy(t), tt.auth, tt.host, tt.port); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

// TestDeadlineCoversHandshake stops the proxy at each point of the handshake.
func TestDeadlineCoversHandshake(t *testing.T) {
	all := []step{
		{"\x05\x01\x02", "\x05\x02"},
		{"\x01\x01u\x01p", "\x01\x00"},
		{"\x05\x01\x00\x03\x01h\x00\x50", okReply[:3]},
	}
	for n := range len(all) + 1 {
		synctest.Test(t, func(t *testing.T) {
			steps := slices.Clone(all[:n])
			if n < len(all) {
				steps = append(steps, step{all[n].read, ""}) // hears us, says nothing
			}
			client, server := net.Pipe()
			defer client.Close()
			defer server.Close()
			go func() {
				for _, s := range steps {
					io.ReadFull(server, make([]byte, len(s.read)))
					io.WriteString(server, s.write)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			start := time.Now()
			err := socks.Connect(ctx, client, socks.Auth{User: "u", Password: "p"}, "h", 80)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 7*time.Second {
				t.Errorf("hung after %d steps: %v after %v, want deadline after 7s", n, err, time.Since(start))
			}
		})
	}
}

func TestDeadlineDoesNotOutliveHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := proxy(t, step{"\x05\x01\x00", "\x05\x00"}, step{"\x05\x01\x00\x03\x01h\x00\x50", okReply})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := socks.Connect(ctx, conn, socks.Auth{}, "h", 80); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // virtual
		go io.WriteString(conn, "x")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		conn.Close()
		synctest.Wait()
	})
}

func TestProbe(t *testing.T) {
	greeting := step{"\x05\x01\x00", "\x05\x00"}
	const ask = "\x05\xf0\x00\x03\x09192.0.2.1\x00\x00"
	for _, tt := range []struct {
		name, reply string
		want        error
	}{
		{"tor", "\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x00", nil},
		{"another proxy", "\x05\x07" + okReply[2:], socks.ErrNotTor},
		{"a proxy that says yes to all", okReply, socks.ErrNotTor},
		{"no proxy", "HTTP/1.1 400", socks.ErrProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := socks.Probe(t.Context(), proxy(t, greeting, step{ask, tt.reply}))
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

// FuzzReply feeds a whole conversation of hostile answers.
func FuzzReply(f *testing.F) {
	f.Add("\x05\x02\x01\x00" + okReply)
	f.Add("\x05\x02\x01\x00\x05\xf0\x00\x03\xff")
	f.Add("HTTP/1.0 501 Tor is not an HTTP Proxy\r\n\r\n")
	f.Fuzz(func(t *testing.T, answers string) {
		conn := &canned{Reader: strings.NewReader(answers)}
		err := socks.Connect(context.Background(), conn, socks.Auth{User: "u", Password: "p"}, "h", 80)
		if err == nil && !strings.HasPrefix(answers, "\x05\x02\x01\x00\x05\x00\x00") {
			t.Errorf("%q was taken for success", answers)
		}
	})
}

// canned is a connection that answers the same whatever is written.
type canned struct {
	io.Reader
	net.Conn
}

func (c *canned) Read(p []byte) (int, error)  { return c.Reader.Read(p) }
func (c *canned) Write(p []byte) (int, error) { return len(p), nil }
func (c *canned) SetDeadline(time.Time) error { return nil }
