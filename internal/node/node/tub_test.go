package node

import (
	"testing"
	"time"
)

func TestTubLimits(t *testing.T) {
	for _, tt := range []struct {
		cfg                   string
		keepalive, disconnect time.Duration
	}{
		{"", 0, 0}, // the protocol's own
		{"timeout.keepalive = 30\ntimeout.disconnect = 100\n", 30 * time.Second, 100 * time.Second},
		{"timeout.keepalive = 0\ntimeout.disconnect = 0\n", -1, -1},
		{"timeout.keepalive =\n", 0, 0},
	} {
		dir := create(t, storageNode("ann"))
		edit(t, dir, "#timeout.keepalive =\n#timeout.disconnect =\n", tt.cfg)
		cfg, err := loadConfig(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if l := (&Node{cfg: cfg}).tubLimits(); l.Keepalive != tt.keepalive || l.Disconnect != tt.disconnect {
			t.Errorf("%q: keepalive %v, disconnect %v", tt.cfg, l.Keepalive, l.Disconnect)
		}
	}
}
