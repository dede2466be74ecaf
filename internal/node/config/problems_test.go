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
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, lines(config.Load(client(t, tt.cfg)))); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
