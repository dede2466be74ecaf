package gridtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/network/netx"
)

// watched stands in for a test, and keeps what the grid says at its end.
type watched struct {
	testing.TB
	cleanups []func()
	said     []string
}

func (w *watched) Helper()          {}
func (w *watched) Failed() bool     { return len(w.said) > 0 }
func (w *watched) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }
func (w *watched) Errorf(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

// What the grid watches for is found when it is there, and only then.
func TestWatches(t *testing.T) {
	const secret = "this is nobody's business"
	for _, tt := range []struct {
		name string
		do   func(g *Grid)
		want string // "": nothing
	}{
		{"nothing", func(g *Grid) {}, ""},
		{"dial", func(g *Grid) {
			g.Client.Host.Dial(context.Background(), netx.Addr{Kind: netx.TCP, Host: "example.org", Port: 80})
		}, "client dialled example.org, which nobody announced"},
		{"announced dial", func(g *Grid) {
			a := netx.Addr{Kind: netx.TCP, Host: "Example.org", Port: 80}
			g.Announce(a)
			g.Client.Host.Dial(context.Background(), a)
		}, ""},
		{"open connection", func(g *Grid) {
			g.Client.Host.Dial(context.Background(), netx.Addr{Kind: netx.TCP, Host: "server00", Port: port})
		}, "left open"},
		{"secret in a log", func(g *Grid) {
			g.Secret("a secret", secret)
			g.Logger().Debug("harmless", "key", secret)
		}, "a secret is in a log or an error"},
		{"secret in an error", func(g *Grid) {
			g.Secret("a secret", secret)
			g.Heard(errors.New("bad key " + base32.Encode([]byte(secret))))
		}, "a secret is in a log or an error"},
		{"cap in an error", func(g *Grid) {
			_, cap := g.Client.MustPut(Content(1000))
			g.Heard(errors.New("cannot read " + cap.Reveal()))
		}, "a cap is in a log or an error"},
		{"secret on a disk", func(g *Grid) {
			g.Secret("a secret", secret)
			os.WriteFile(filepath.Join(g.Servers[1].Dir, "shares", "new"), []byte("x"+secret), 0o600)
		}, "a secret is in the file shares/new of server01"},
		{"secret in a file name", func(g *Grid) {
			g.Secret("a secret", secret)
			os.WriteFile(filepath.Join(g.Servers[1].Dir, secret), nil, 0o600)
		}, "a secret is in a file name of server01"},
		{"plaintext in a share", func(g *Grid) {
			data := Content(1000)
			g.Client.MustPut(data)
			os.WriteFile(filepath.Join(g.Servers[2].Dir, "shares", "new"), data, 0o600)
		}, "plaintext is in the file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &watched{TB: t}
				g := New(w, Config{Servers: 3, K: 1, Happy: 1, N: 3, Disk: true})
				tt.do(g)
				for _, f := range w.cleanups {
					f()
				}
				if got := strings.Join(w.said, "\n"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
					t.Errorf("said %q; want %q", got, tt.want)
				}
			})
		})
	}
}
