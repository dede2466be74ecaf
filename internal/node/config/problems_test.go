package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/node/config"
)

func TestProblems(t *testing.T) {
	const off = "[storage]\nenabled = no\n"
	const hidden = "[connections]\ntcp = tor\n[storage]\nenabled = no\n[node]\nreveal-IP-address = false\n"
	for _, tt := range []struct {
		name, cfg, want string
	}{
		{"empty", "", ""},
		{"x", "[node]\ntub.prot = 1\n[Node]\n[clent]\n[storage]\nshares.needed=3\nenabled = maybe\nreserved_space = 10 GB\n", ""},
		{"x", hidden + "tub.port=3456\ntub.location=AUTO,example.org:1,tor:" + onion + ":3\n", ""},
		{"x", hidden + "tub.port=tcp:3456:interface=0.0.0.0\ntub.location=tor:" + onion + ":3\n[connections]\ntcp=tcp", ""},
		{"x", hidden, ""},
		{"x", off + "[node]\ntub.port=disabled\ntub.location=disabled\n", ""},
		{"x", "[node]\ntub.port=disabled\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, lines(config.Load(client(t, tt.cfg)))); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
