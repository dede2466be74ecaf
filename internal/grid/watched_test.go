package grid

import (
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/storagetest"
)

// TestWatchedContract checks that a server is the same seen through the grid.
func TestWatchedContract(t *testing.T) {
	for _, c := range storagetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(Config{Open: open(map[string]*fake{"a": newFake()})})
				defer g.Close()
				g.Add(known("a", "a"))
				g.Wait(t.Context(), 1)
				c.Run(t, g.ForRead(storage.Index{})[0].Server)
			})
		})
	}
}

// TestRefusedWriteIsContact checks that a bad write enabler is taken for an
// answer, and a broken connection not.
func TestRefusedWriteIsContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fk := newFake()
		g := New(Config{Open: open(map[string]*fake{"a": fk})})
		defer g.Close()
		g.Add(known("a", "a"))
		g.Wait(t.Context(), 1)
		s := g.ForRead(storage.Index{})[0].Server
		write := func(b byte) error {
			w := map[storage.ShareNum]storage.SlotWrite{0: {}}
			_, err := s.TestAndWrite(t.Context(), storage.Index{}, storage.NewWriteEnabler([32]byte{b}), storage.LeaseSecrets{}, w, nil)
			return err
		}
		if err := write(1); err != nil {
			t.Fatal(err)
		}
		asked := fk.asked.Load()
		time.Sleep(time.Second)
		if err := write(2); err == nil {
			t.Fatal("another write enabler was taken")
		}
		synctest.Wait()
		if got := g.Status()[0].LastContact; !got.Equal(time.Now()) || fk.asked.Load() != asked {
			t.Errorf("last contact %v, now %v; %d probes more", got, time.Now(), fk.asked.Load()-asked)
		}
	})
}
