package diskstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

var testEnabler = storage.NewWriteEnabler([32]byte([]byte(strings.Repeat("w", 32))))

// manySecrets are more lease holders than a container has places for.
func manySecrets(i int) storage.LeaseSecrets {
	s := strings.Repeat(string(rune('A'+i)), 31)
	return storage.LeaseSecrets{Renew: redact.New(s + "r"), Cancel: redact.New(s + "c")}
}

// slotHistory is a client's view of a server that keeps slots: of each share,
// the contents that it may have, "" for none. After a call that succeeded
// there is one.
type slotHistory struct {
	shares, redo *crashFS
	store        *Store
	now          time.Time

	may    map[key]map[string]bool // the content, with one byte before it
	leases map[key]map[storage.LeaseSecrets]time.Time
	errs   []error
}

func newSlotHistory(m *machine) *slotHistory {
	redo := newCrashFS(m)
	redo.label = "redo/"
	return &slotHistory{
		shares: newCrashFS(m), redo: redo, now: time.Unix(1_700_000_000, 0),
		may:    map[key]map[string]bool{},
		leases: map[key]map[storage.LeaseSecrets]time.Time{},
	}
}

func (h *slotHistory) open() error {
	store, err := open(Config{Now: func() time.Time { return h.now }}, h.shares, h.redo, newCrashFS(&machine{}))
	h.store = store
	return h.failed(err)
}

func (h *slotHistory) failed(err error) error {
	if err != nil {
		h.errs = append(h.errs, err)
	}
	return err
}

// becomes is what w makes of a content. Written apart from the store's own.
func becomes(content string, w storage.SlotWrite) string {
	if w.NewLength != nil && *w.NewLength == 0 {
		return ""
	}
	var data []byte
	if content != "" {
		data = []byte(content[1:])
	}
	for _, p := range w.Writes {
		for int64(len(data)) < p.Off {
			data = append(data, 0)
		}
		data = append(data[:p.Off], append(bytes.Clone(p.Data), data[min(int64(len(data)), p.Off+int64(len(p.Data))):]...)...)
	}
	if w.NewLength != nil && *w.NewLength < int64(len(data)) {
		data = data[:*w.NewLength]
	}
	return "!" + string(data)
}

// write does one call and notes what may be there now.
func (h *slotHistory) write(si storage.Index, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite) {
	got, err := h.store.TestAndWrite(context.Background(), si, testEnabler, ls, writes, nil)
	if h.failed(err) == nil && !got.Applied {
		h.failed(errors.New("not applied"))
		return
	}
	for num, w := range writes {
		k := key{si, num}
		old := h.may[k]
		if old == nil {
			old = map[string]bool{"": true}
		}
		h.may[k] = map[string]bool{}
		for content := range old {
			h.may[k][becomes(content, w)] = true
			if err != nil {
				h.may[k][content] = true
			}
		}
		switch {
		case w.Deletes():
			delete(h.leases, k)
		case err == nil:
			h.promised(k, ls)
		}
	}
}

func (h *slotHistory) promised(k key, ls storage.LeaseSecrets) {
	if h.leases[k] == nil {
		h.leases[k] = map[storage.LeaseSecrets]time.Time{}
	}
	h.leases[k][ls] = h.now.Add(LeaseDuration)
}

func (h *slotHistory) addLease(si storage.Index, ls storage.LeaseSecrets) {
	if h.failed(h.store.AddLease(context.Background(), si, ls)) != nil {
		return
	}
	for k, may := range h.may {
		if k.si == si && !may[""] {
			h.promised(k, ls)
		}
	}
}

// random returns n bytes, the same for the same seed.
func random(seed, n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(seed), 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func put(off int64, data []byte) storage.SlotWrite {
	return storage.SlotWrite{Writes: []storage.SlotPatch{{Off: off, Data: data}}}
}

func cutTo(n int64) storage.SlotWrite { return storage.SlotWrite{NewLength: &n} }

type slotWrites = map[storage.ShareNum]storage.SlotWrite

// live is the life that gets cut: every kind of change, alone and many at
// once.
func (h *slotHistory) live() {
	h.write(siA, secretsA, slotWrites{0: put(0, random(1, 300)), 1: put(0, random(2, 700))})
	h.write(siB, secretsA, slotWrites{0: put(0, random(3, 50))})
	h.now = h.now.Add(time.Hour)
	h.write(siA, secretsA, slotWrites{0: put(100, random(4, 60))}) // in place
	h.write(siA, secretsB, slotWrites{                             // moves leases, cuts, creates
		0: put(250, random(5, 900)), 1: cutTo(64), 2: put(0, random(6, 400)),
	})
	for i := range 3 {
		h.addLease(siA, manySecrets(i)) // beyond the four places
	}
	h.now = h.now.Add(time.Hour)
	h.write(siA, secretsA, slotWrites{0: put(2000, random(7, 10)), 1: put(500, random(8, 10))}) // over gaps
	h.addLease(siA, secretsB)                                                                   // renews
	h.write(siB, secretsA, slotWrites{0: cutTo(0)})                                             // and the directory goes
	h.write(siB, secretsB, slotWrites{0: put(0, random(9, 200))})
	h.write(siA, manySecrets(3), slotWrites{0: put(0, random(10, 41)), 1: cutTo(0), 2: put(390, random(11, 90)), 7: put(5, nil)})
	h.addLease(siB, secretsA)
	h.write(siB, secretsA, slotWrites{0: cutTo(0)})
	h.write(siC, secretsA, slotWrites{0: put(0, random(12, 5))})
	_, err := h.store.ReadSlot(context.Background(), siA, nil, []storage.Span{{Off: 0, Len: 100}})
	h.failed(err)
}

// after is the two file systems after a power cut.
func (h *slotHistory) after(rng *rand.Rand) *slotHistory {
	m := &machine{}
	out := *h
	out.shares, out.redo = h.shares.after(rng, m), h.redo.after(rng, m)
	return &out
}

// violations opens a server over the file systems and lists the promises it
// breaks.
func (h *slotHistory) violations() []string {
	var bad []string
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	s, err := open(Config{Now: func() time.Time { return h.now }}, h.shares, h.redo, newCrashFS(&machine{}))
	if err != nil {
		return []string{"reopening: " + err.Error()}
	}
	if names, err := h.redo.ReadDir("."); err != nil || len(names) != 0 {
		say("redo holds %v, %v", names, err)
	}
	for _, si := range []storage.Index{siA, siB, siC} {
		got, err := s.ReadSlot(context.Background(), si, nil, []storage.Span{{Off: 0, Len: 1 << 40}})
		if err != nil {
			say("ReadSlot: %v", err)
		}
		for num := range storage.ShareNum(10) {
			k, content := key{si, num}, ""
			if pieces, held := got[num]; held {
				content = "!" + string(pieces[0])
			}
			may := h.may[k]
			if may == nil {
				may = map[string]bool{"": true}
			}
			if !may[content] {
				say("share %d of %s has %d bytes, neither old nor new (%d possible)", num, si.Short(), len(content)-1, len(may))
			}
			if content == "" || may[""] {
				continue
			}
			err := s.inSlot(k, func(f file, c slotContainer) error {
				for ls, until := range h.leases[k] {
					want, _ := newSlotLease(c.version, ls, until, [20]byte{})
					place, err := c.findLease(f, &want)
					if err != nil || !place.held || place.expires < want.expires {
						say("share %d of %s lost a lease until %v: %+v, %v", num, si.Short(), until, place, err)
					}
				}
				if !c.permits(testEnabler) {
					say("share %d of %s has another write enabler", num, si.Short())
				}
				return nil
			})
			if err != nil {
				say("opening share %d of %s: %v", num, si.Short(), err)
			}
		}
	}
	return bad
}

// callsOfASlotLife counts the calls an undisturbed life makes.
func callsOfASlotLife(t *testing.T) int {
	m := &machine{}
	h := newSlotHistory(m)
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	h.live()
	if len(h.errs) > 0 {
		t.Fatalf("an undisturbed life has errors: %v", h.errs)
	}
	calls := m.calls
	for k, may := range h.may {
		if len(may) != 1 {
			t.Errorf("share %v may be %d contents", k, len(may))
		}
	}
	if bad := h.after(nil).violations(); len(bad) > 0 || len(h.leases) != 4 {
		t.Fatalf("an undisturbed life of %d shares: %v", len(h.leases), bad)
	}
	if m.open != 0 {
		t.Fatalf("%d files left open", m.open)
	}
	return calls
}

// cutSlot lives until the n-th call, and lists the promises broken by the
// power cut then, on several disks.
func cutSlot(n int, lie func(what, name string) bool) []string {
	h := newSlotHistory(&machine{failAt: n, failure: errPower, lie: lie})
	if h.open() == nil {
		h.live()
	}
	bad := h.after(nil).violations()
	for seed := range uint64(4) {
		bad = append(bad, h.after(rand.New(rand.NewPCG(seed, uint64(n)))).violations()...)
	}
	return bad
}

func TestSlotPowerCutAtEveryCall(t *testing.T) {
	calls := callsOfASlotLife(t)
	for n := 1; n <= calls+1; n++ {
		if bad := cutSlot(n, nil); len(bad) > 0 {
			t.Errorf("power cut at call %d of %d: %s", n, calls, strings.Join(bad, "\n\t"))
		}
	}
	t.Logf("%d power cuts, each with 5 disks", calls+1)
}

// TestSlotModelCatchesMissingSyncs takes each sync away in turn: the test
// above must then fail, or it would prove nothing.
func TestSlotModelCatchesMissingSyncs(t *testing.T) {
	calls := callsOfASlotLife(t)
	for what, lie := range map[string]func(what, name string) bool{
		"redo file":        func(what, name string) bool { return what == "sync" && strings.HasPrefix(name, "redo/") },
		"redo directory":   func(what, name string) bool { return what == "syncdir" && name == "redo/." },
		"new share":        func(what, name string) bool { return what == "sync" && strings.HasPrefix(name, incomingDir) },
		"changed share":    func(what, name string) bool { return what == "sync" && len(name) > 2 && name[2] == '/' },
		"index directory":  func(what, name string) bool { return what == "syncdir" && len(name) > 10 },
		"prefix directory": func(what, name string) bool { return what == "syncdir" && len(name) == 2 },
	} {
		caught := 0
		for n := 1; n <= calls+1 && caught < 10; n++ {
			if len(cutSlot(n, lie)) > 0 {
				caught++
			}
		}
		if caught < 10 {
			t.Errorf("without sync of the %s %d power cuts break a promise; want 10", what, caught)
		}
	}
}

// TestSlotKillThenPowerCut kills the process at every call, lets the next one
// promise more about what it finds, and then cuts the power.
func TestSlotKillThenPowerCut(t *testing.T) {
	calls := callsOfASlotLife(t)
	for n := 1; n <= calls; n++ {
		m := &machine{failAt: n, failure: errPower}
		h := newSlotHistory(m)
		if h.open() == nil {
			h.live()
		}
		m.failAt, h.errs = 0, nil
		if h.open() != nil {
			t.Fatalf("killed at call %d: %v", n, h.errs)
		}
		if bad := h.after(nil).violations(); len(bad) > 0 {
			t.Errorf("killed at call %d, and the power cut at once: %s", n, strings.Join(bad, "\n\t"))
		}
		h.addLease(siA, secretsA)
		h.write(siA, secretsA, slotWrites{0: put(10, random(20, 10)), 2: cutTo(0)})
		h.write(siB, secretsA, slotWrites{0: put(10, random(21, 500))})
		for _, err := range h.errs {
			if !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("killed at call %d, second life: %v", n, err)
			}
		}
		for seed := range uint64(3) {
			if bad := h.after(rand.New(rand.NewPCG(seed, uint64(n)))).violations(); len(bad) > 0 {
				t.Errorf("killed at call %d: %s", n, strings.Join(bad, "\n\t"))
			}
		}
	}
}

// TestSlotPowerCutWhileRecovering cuts the power, and again at every call of
// the start after it.
func TestSlotPowerCutWhileRecovering(t *testing.T) {
	calls := callsOfASlotLife(t)
	cuts := 0
	for n := 1; n <= calls+1; n++ {
		h := newSlotHistory(&machine{failAt: n, failure: errPower})
		if h.open() == nil {
			h.live()
		}
		if len(h.redo.root.names) == 0 {
			continue // the start has nothing to do
		}
		for at := 1; ; at++ {
			again := h.after(rand.New(rand.NewPCG(0, uint64(n))))
			m := again.shares.machine
			m.failAt, m.failure = at, errPower
			again.open()
			if m.calls < at {
				break
			}
			cuts++
			if bad := again.after(rand.New(rand.NewPCG(1, uint64(at)))).violations(); len(bad) > 0 {
				t.Errorf("power cut at call %d, and at call %d of the start: %s", n, at, strings.Join(bad, "\n\t"))
			}
		}
	}
	t.Logf("%d cuts while recovering", cuts)
}

// TestSlotErrorAtEveryCall fails the n-th call, once, some times and from
// then on.
func TestSlotErrorAtEveryCall(t *testing.T) {
	calls := callsOfASlotLife(t)
	for errno, times := range map[syscall.Errno][]int{syscall.EIO: {1, 1 << 30}, syscall.ENOSPC: {3}} {
		for _, failFor := range times {
			for n := 1; n <= calls; n++ {
				m := &machine{failAt: n, failFor: failFor, failure: errno}
				h := newSlotHistory(m)
				if h.open() == nil {
					h.live()
				}
				what := fmt.Sprintf("%v at call %d for %d", errno, n, failFor)
				for _, err := range h.errs {
					if !errors.Is(err, errno) && !errors.Is(err, storage.ErrNotFound) {
						t.Errorf("%s: unrelated error %v", what, err)
					}
					if errno == syscall.ENOSPC && h.store != nil && errors.Is(err, errno) && !errors.Is(err, storage.ErrNoSpace) && !strings.Contains(err.Error(), "reading slot") {
						t.Errorf("%s: %v; want ErrNoSpace", what, err)
					}
				}
				if m.open != 0 {
					t.Errorf("%s: %d files left open", what, m.open)
				}
				// The disk is well again: first for the server as it is.
				m.failAt = 0
				if h.store != nil {
					h.checkLive(t, what)
				}
				if bad := h.violations(); len(bad) > 0 {
					t.Errorf("%s: %s", what, strings.Join(bad, "\n\t"))
				}
				h.errs = nil
				if h.open() != nil {
					t.Fatalf("%s: reopening: %v", what, h.errs)
				}
				h.write(siA, secretsA, slotWrites{0: cutTo(0), 1: cutTo(0), 2: cutTo(0), 7: cutTo(0)})
				h.write(siA, secretsA, slotWrites{0: put(0, random(30, 80))})
				if bad := h.after(nil).violations(); len(bad) > 0 || len(h.errs) > 0 {
					t.Errorf("%s: afterwards %v, %v", what, bad, h.errs)
				}
				if names, _ := h.shares.ReadDir(incomingDir); len(names) > 0 {
					t.Errorf("%s: incoming holds %v", what, names)
				}
			}
		}
	}
}

// checkLive reads all shares of a server that had errors.
func (h *slotHistory) checkLive(t *testing.T, what string) {
	t.Helper()
	for _, k := range slices.Collect(maps.Keys(h.may)) {
		got, err := h.store.ReadSlot(context.Background(), k.si, []storage.ShareNum{k.num}, []storage.Span{{Off: 0, Len: 1 << 40}})
		if err != nil {
			t.Errorf("%s: ReadSlot: %v", what, err)
			continue
		}
		content := ""
		if pieces, held := got[k.num]; held {
			content = "!" + string(pieces[0])
		}
		if !h.may[k][content] {
			t.Errorf("%s: the running server shows share %d of %s with %d bytes, neither old nor new", what, k.num, k.si.Short(), len(content)-1)
		}
	}
}
