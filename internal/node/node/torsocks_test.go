package node

import (
	"errors"
	"os"
	"strings"
	"testing"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
)

func TestHeedTorsocks(t *testing.T) {
	const preload = "/usr/lib/x86_64-linux-gnu/torsocks/libtorsocks.so"
	for _, tt := range []struct {
		name  string
		lines []string // of [tor]
		env   map[string]string
		note  string
		socks string
		bad   string // part of the problem
	}{
		{"not under torsocks", nil, nil, "", "", ""},
		{"told nothing", nil, map[string]string{"LD_PRELOAD": preload, "TORSOCKS_CONF_FILE": os.DevNull}, "through Tor, which is looked for", "", ""},
		{"told a port", nil, map[string]string{"TORSOCKS_TOR_PORT": "9100", "TORSOCKS_CONF_FILE": os.DevNull}, "through Tor, at tcp:127.0.0.1:9100", "tcp:127.0.0.1:9100", ""},
		{"as tahoe.cfg", []string{"socks.port = tcp:127.0.0.1:9100"}, map[string]string{"TORSOCKS_TOR_PORT": "9100", "TORSOCKS_CONF_FILE": os.DevNull}, "at tcp:127.0.0.1:9100", "tcp:127.0.0.1:9100", ""},
		{"not as tahoe.cfg", []string{"socks.port = unix:/s"}, map[string]string{"TORSOCKS_TOR_PORT": "9100", "TORSOCKS_CONF_FILE": os.DevNull}, "", "", "socks.port = unix:/s"},
		{"tahoe.cfg alone", []string{"socks.port = unix:/s"}, map[string]string{"LD_PRELOAD": preload, "TORSOCKS_CONF_FILE": os.DevNull}, "at unix:/s", "unix:/s", ""},
		{"launch", []string{"launch = true"}, map[string]string{"LD_PRELOAD": preload, "TORSOCKS_CONF_FILE": os.DevNull}, "which the node launches", "", ""},
		{"launch another", []string{"launch = true"}, map[string]string{"TORSOCKS_TOR_PORT": "9100", "TORSOCKS_CONF_FILE": os.DevNull}, "", "", "launch = true starts another tor"},
		{"a setting that cannot be", nil, map[string]string{"TORSOCKS_TOR_PORT": "none", "TORSOCKS_CONF_FILE": os.DevNull}, "", "", "1 to 65535"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Env: func(k string) string { return tt.env[k] }}
			cfg, err := loadConfig(hiddenClient(t, tt.lines...), o)
			if err != nil {
				t.Fatal(err)
			}
			n := &Node{cfg: cfg, opts: o}
			err = n.heedTorsocks(t.Context())
			if tt.bad != "" {
				_, isProblem := errors.AsType[config.Problems](err)
				if err == nil || !strings.Contains(err.Error(), tt.bad) || isProblem == (tt.name == "a setting that cannot be") {
					t.Errorf("error %v, want %q in it", err, tt.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(n.notes, "\n"); !strings.HasSuffix(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("it says %q, want %q", notes, tt.note)
			}
			if at := n.socksAddr(); at != (netx.Addr{}) && at.String() != tt.socks || at == (netx.Addr{}) && tt.socks != "" {
				t.Errorf("SOCKS at %s, want %q", at, tt.socks)
			}
		})
	}
}

// A wish for torsocks hides a node whose configuration does not speak of it.
func TestTorsocksHides(t *testing.T) {
	dir := create(t, clientNode(1, 1, 1))
	env := map[string]string{"LD_PRELOAD": "/usr/lib/torsocks/libtorsocks.so", "TORSOCKS_TOR_PORT": "1", "TORSOCKS_CONF_FILE": os.DevNull}
	n := start(t, dir, Options{Env: func(k string) string { return env[k] }})
	if _, err := n.network.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "0.0.0.0"}); err == nil {
		t.Error("it listens for everyone")
	}
	if n.tor == nil || !n.cfg.TorOnly() {
		t.Error("it does not use Tor for everything")
	}
}
