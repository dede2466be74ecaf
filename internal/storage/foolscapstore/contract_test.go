package foolscapstore

import (
	"testing"
	"time"

	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/storage/diskstore"
	"tahoe-go/internal/storage/memstore"
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
				bubble(t, nil, HandlerConfig{}, func(t *testing.T, r *rig) {
					r.net.SetDefault(link)
					c.Run(t, r.newClient(t, Config{}))
				})
			})
		}
	}
}

// TestContractOnDisk runs them with the store of a real server behind, over
// real sockets.
func TestContractOnDisk(t *testing.T) {
	store, err := diskstore.Open(diskstore.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := loopbackRig(t, store, HandlerConfig{})
	c := r.newClient(t, Config{})
	for _, tt := range storagetest.Cases() {
		t.Run(tt.Name, func(t *testing.T) { tt.Run(t, c) })
	}
	r.stop()
}

func TestRefusing(t *testing.T) {
	for name, cfg := range map[string]memstore.Config{"read-only": {ReadOnly: true}, "full": {Capacity: 10}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, memstore.New(cfg), HandlerConfig{}, func(t *testing.T, r *rig) {
				storagetest.Refusing(t, r.newClient(t, Config{}), 11)
			})
		})
	}
}
