package diskstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

var (
	siA = storage.Index{1}
	siB = storage.Index{1, 0, 2} // in the same prefix directory
	siC = storage.Index{200}

	secretsA = storage.LeaseSecrets{Renew: redact.New(strings.Repeat("r", 32)), Cancel: redact.New(strings.Repeat("c", 32))}
	secretsB = storage.LeaseSecrets{Renew: redact.New(strings.Repeat("s", 32)), Cancel: redact.New(strings.Repeat("d", 32))}
)

// history is a client's view of a server's life: what it was promised.
type history struct {
	fs         *crashFS
	advisories *crashFS
	store      *Store
	now        time.Time

	held   map[key]bool                               // shares the server said it holds
	leases map[key]map[storage.LeaseSecrets]time.Time // leases it said it recorded
	errs   []error
}

func newHistory(m *machine) *history {
	return &history{
		fs: newCrashFS(m), advisories: newCrashFS(m),
		now:    time.Unix(1_700_000_000, 0),
		held:   map[key]bool{},
		leases: map[key]map[storage.LeaseSecrets]time.Time{},
	}
}

// open starts a server over what is on the file system.
func (h *history) open() error {
	store, err := open(Config{Now: func() time.Time { return h.now }}, h.fs, newCrashFS(h.fs.machine), h.advisories)
	h.store = store
	return h.failed(err)
}

func (h *history) failed(err error) error {
	if err != nil {
		h.errs = append(h.errs, err)
	}
	return err
}

// content is what every client uploads as this share.
func (k key) content() []byte {
	b := make([]byte, 400+int(k.num)*100)
	rng := rand.New(rand.NewPCG(uint64(k.si[0])<<8+uint64(k.si[2]), uint64(k.num)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func (h *history) promised(k key, ls storage.LeaseSecrets) {
	h.held[k] = true
	if h.leases[k] == nil {
		h.leases[k] = map[storage.LeaseSecrets]time.Time{}
	}
	h.leases[k][ls] = h.now.Add(LeaseDuration)
}

// upload puts one share, in three writes out of order, and notes promises.
func (h *history) upload(si storage.Index, num storage.ShareNum, ls storage.LeaseSecrets) {
	ctx := context.Background()
	k := key{si, num}
	data := k.content()
	a, err := h.store.Allocate(ctx, si, []storage.ShareNum{num}, int64(len(data)), ls)
	if h.failed(err) != nil {
		return
	}
	for _, have := range a.Have {
		h.promised(key{si, have}, ls)
	}
	w := a.Writers[num]
	if w == nil {
		return
	}
	for _, p := range [][2]int{{300, len(data)}, {0, 200}, {150, 350}} {
		if err == nil {
			err = h.failed(w.WriteAt(ctx, data[p[0]:p[1]], int64(p[0])))
		}
	}
	if err == nil {
		err = h.failed(w.Close(ctx))
	}
	if err != nil {
		h.failed(w.Abort(ctx))
		return
	}
	h.promised(k, ls)
}

func (h *history) addLease(si storage.Index, ls storage.LeaseSecrets) {
	if h.failed(h.store.AddLease(context.Background(), si, ls)) != nil {
		return
	}
	for k := range h.held {
		if k.si == si {
			h.promised(k, ls)
		}
	}
}

// live is the life that gets cut.
func (h *history) live() {
	h.upload(siA, 0, secretsA)
	h.upload(siA, 1, secretsA)
	h.upload(siB, 0, secretsA)
	h.now = h.now.Add(time.Hour)
	h.addLease(siA, secretsB)
	h.now = h.now.Add(time.Hour)
	h.addLease(siA, secretsA)
	a, err := h.store.Allocate(context.Background(), siC, []storage.ShareNum{0}, 10, secretsA)
	if h.failed(err) == nil {
		h.failed(a.Writers[0].WriteAt(context.Background(), make([]byte, 5), 0))
		h.failed(a.Writers[0].Abort(context.Background()))
	}
	h.upload(siC, 9, secretsB)
	h.upload(siA, 0, secretsB) // held already: renews
	shares, err := h.store.Shares(context.Background(), siB)
	if h.failed(err) == nil && shares[0] != nil {
		h.failed(shares[0].ReportCorrupt(context.Background(), "bad"))
	}
}

// violations opens a server over fs and lists the promises it breaks.
func (h *history) violations(fs *crashFS) []string {
	var bad []string
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	s, err := open(Config{Now: func() time.Time { return h.now }}, fs, newCrashFS(fs.machine), newCrashFS(fs.machine))
	if err != nil {
		return []string{"reopening: " + err.Error()}
	}
	if names, err := fs.ReadDir(incomingDir); err != nil || len(names) != 0 {
		say("incoming holds %v, %v", names, err)
	}
	seen := map[key]bool{}
	for _, si := range []storage.Index{siA, siB, siC} {
		shares, err := s.Shares(context.Background(), si)
		if err != nil {
			say("Shares: %v", err)
		}
		for num, r := range shares {
			k := key{si, num}
			seen[k] = true
			want := k.content()
			got := make([]byte, len(want)+200)
			n, err := r.ReadAt(context.Background(), got, 0)
			if err != io.EOF || !bytes.Equal(got[:n], want) {
				say("share %v is visible with %d bytes of %d, %v", k, n, len(want), err)
			}
			// The reference counts back from the end of the file. A lease cut
			// short may give it bytes too many, never too few.
			_, node, _ := fs.find(k.path())
			if count := int(binary.BigEndian.Uint32(node.data[8:])); len(node.data)-headerSize-count*leaseSize < len(want) {
				say("the reference would read share %v short: %d leases in %d bytes", k, count, len(node.data))
			}
		}
		nums, _ := s.list(si)
		for _, num := range nums {
			if !seen[key{si, num}] {
				say("share %d of %v is there but not readable", num, si)
			}
		}
	}
	for k := range h.held {
		if !seen[k] {
			say("share %v was acknowledged and is gone", k)
			continue
		}
		f, c, err := s.openShare(k)
		if err != nil {
			say("opening %v: %v", k, err)
			continue
		}
		for ls, until := range h.leases[k] {
			want, _ := newLease(c.version, 0, ls, until)
			found := false
			for _, l := range leases(f, c, &err) {
				found = found || l.sameRenew(&want) && l.expires >= want.expires
			}
			if !found || err != nil {
				say("share %v lost a lease until %v, %v", k, until, err)
			}
		}
		f.Close()
	}
	return bad
}

// callsOfALife counts the calls an undisturbed life makes.
func callsOfALife(t *testing.T) int {
	m := &machine{}
	h := newHistory(m)
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	h.live()
	if len(h.errs) > 0 {
		t.Fatalf("an undisturbed life has errors: %v", h.errs)
	}
	if bad := h.violations(h.fs.after(nil, &machine{})); len(bad) > 0 || len(h.held) != 4 {
		t.Fatalf("an undisturbed life of %d shares: %v", len(h.held), bad)
	}
	if m.open != 0 {
		t.Fatalf("%d files left open", m.open)
	}
	return m.calls
}

// cut lives until the n-th call and lists the promises broken by the power
// cut then, for a disk that loses all it may and for some that lose at random.
func cut(n int, lie func(what, name string) bool) []string {
	m := &machine{failAt: n, failure: errPower, lie: lie}
	h := newHistory(m)
	if h.open() == nil {
		h.live()
	}
	bad := h.violations(h.fs.after(nil, &machine{}))
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		bad = append(bad, h.violations(h.fs.after(rng, &machine{}))...)
	}
	return bad
}

func TestPowerCutAtEveryCall(t *testing.T) {
	calls := callsOfALife(t)
	for n := 1; n <= calls+1; n++ {
		if bad := cut(n, nil); len(bad) > 0 {
			t.Errorf("power cut at call %d of %d: %s", n, calls, strings.Join(bad, "\n\t"))
		}
	}
	t.Logf("%d power cuts, each with 5 disks", calls+1)
}

// TestModelCatchesMissingSyncs takes each sync away in turn: the test above
// must then fail, or it would prove nothing.
func TestModelCatchesMissingSyncs(t *testing.T) {
	calls := callsOfALife(t)
	for what, lie := range map[string]func(what, name string) bool{
		"file":             func(what, _ string) bool { return what == "sync" },
		"share file only":  func(what, name string) bool { return what == "sync" && strings.HasPrefix(name, incomingDir) },
		"lease only":       func(what, name string) bool { return what == "sync" && !strings.HasPrefix(name, incomingDir) },
		"index directory":  func(what, name string) bool { return what == "syncdir" && len(name) > 2 },
		"prefix directory": func(what, name string) bool { return what == "syncdir" && len(name) == 2 },
		"top directory":    func(what, name string) bool { return what == "syncdir" && name == "." },
	} {
		caught := 0
		for n := 1; n <= calls+1; n++ {
			if len(cut(n, lie)) > 0 {
				caught++
			}
		}
		if caught == 0 {
			t.Errorf("without sync of the %s no power cut breaks a promise", what)
		}
		t.Logf("without sync of the %s: %d of %d power cuts caught", what, caught, calls+1)
	}
}

// TestKillThenPowerCut kills the process at every call, so that its unsynced
// work stays visible, lets the next process make promises about it, and then
// cuts the power.
func TestKillThenPowerCut(t *testing.T) {
	calls := callsOfALife(t)
	for n := 1; n <= calls; n++ {
		m := &machine{failAt: n, failure: errPower}
		h := newHistory(m)
		if h.open() == nil {
			h.live()
		}
		m.failAt, h.errs = 0, nil
		if h.open() != nil {
			t.Fatalf("killed at call %d: %v", n, h.errs)
		}
		h.upload(siA, 0, secretsA)
		h.upload(siB, 0, secretsA)
		h.upload(siC, 9, secretsA)
		if len(h.errs) > 0 {
			t.Errorf("killed at call %d, second life: %v", n, h.errs)
		}
		if bad := h.violations(h.fs.after(nil, &machine{})); len(bad) > 0 {
			t.Errorf("killed at call %d: %s", n, strings.Join(bad, "\n\t"))
		}
	}
}

// TestErrorAtEveryCall fails the n-th call, once and from then on.
func TestErrorAtEveryCall(t *testing.T) {
	calls := callsOfALife(t)
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EMFILE} {
		for _, failFor := range []int{1, 3, 1 << 30} {
			for n := 1; n <= calls; n++ {
				m := &machine{failAt: n, failFor: failFor, failure: errno}
				h := newHistory(m)
				if h.open() == nil {
					h.live()
				}
				what := fmt.Sprintf("%v at call %d for %d", errno, n, failFor)
				for _, err := range h.errs {
					if !errors.Is(err, errno) && !errors.Is(err, storage.ErrNotFound) {
						t.Errorf("%s: unrelated error %v", what, err)
					}
				}
				if len(h.errs) == 0 && failFor > 3 {
					t.Errorf("%s: no error reported", what)
				}
				if m.open != 0 {
					t.Errorf("%s: %d files left open", what, m.open)
				}
				if s := h.store; s != nil && (len(s.incoming) != 0 || s.reserved != 0 || len(s.handles) != 0) {
					t.Errorf("%s: %d uploads, %d bytes, %d handles left over", what, len(s.incoming), s.reserved, len(s.handles))
				}
				m.failAt = 0
				if bad := h.violations(h.fs); len(bad) > 0 {
					t.Errorf("%s: %s", what, strings.Join(bad, "\n\t"))
				}
				// The disk is well again, and so is the server.
				h.errs = nil
				if h.open() != nil {
					t.Fatalf("%s: reopening: %v", what, h.errs)
				}
				h.live()
				if len(h.errs) > 0 || len(h.held) != 4 {
					t.Errorf("%s: afterwards %d shares held, errors %v", what, len(h.held), h.errs)
				}
			}
		}
	}
}

// TestFullDisk checks the word a full disk gets at each call of an upload.
func TestFullDisk(t *testing.T) {
	for n := range callsOfALife(t) {
		m := &machine{failAt: n + 1, failFor: 1, failure: syscall.ENOSPC}
		h := newHistory(m)
		if h.open() != nil {
			continue
		}
		h.upload(siA, 0, secretsA)
		h.upload(siA, 0, secretsB)
		for _, err := range h.errs {
			if !errors.Is(err, storage.ErrNoSpace) {
				t.Errorf("full at call %d: %v; want ErrNoSpace", n+1, err)
			}
		}
	}
}
