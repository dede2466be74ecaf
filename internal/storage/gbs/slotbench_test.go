package gbs

import (
	"bytes"
	"testing"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/diskstore"
)

// BenchmarkSlotWrite writes over a share of 3.5 MiB, as those of a mutable
// file of 10 MiB are, on disk and over TLS on loopback. Both ends share the
// machine.
func BenchmarkSlotWrite(b *testing.B) {
	store, err := diskstore.Open(diskstore.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	c := newLoopbackRig(b, store, HandlerConfig{}).newClient(b, Config{})
	data := bytes.Repeat([]byte{7}, 7<<19)
	size := int64(len(data))
	write := map[storage.ShareNum]storage.SlotWrite{3: {Writes: []storage.SlotPatch{{Data: data}}, NewLength: &size}}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		data[0]++ // something has to change
		if got, err := c.TestAndWrite(b.Context(), testIndex(b), testEnabler, benchLeases, write, nil); err != nil || !got.Applied {
			b.Fatalf("%+v, %v", got, err)
		}
	}
}
