package gbs

import (
	"testing"
	"time"

	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/storage/storagetest"
)

// TestContract runs every clause over several kinds of path.
func TestContract(t *testing.T) {
	for name, link := range map[string]memnet.Link{
		"instant": {},
		"slow":    {Latency: 700 * time.Millisecond, Bandwidth: 1 << 20},
	} {
		for _, c := range storagetest.Cases() {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t, nil, HandlerConfig{})
					r.net.SetDefault(link)
					c.Run(t, r.newClient(t, Config{}))
				})
			})
		}
	}
}
