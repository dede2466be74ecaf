package diskstore

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// goldenSlot is share 0 of a mutable file as a reference server
// (1.20.0.post162) kept it, in testdata as NAME-seq1 and, overwritten,
// NAME-seq2.
type goldenSlot struct{ name, writekey, si, peer string }

var goldenSlots = []goldenSlot{
	{"sdmf-3-10-100", "38a268b3c49a02e7755d9a087bf62c86", "76wdftegdgrbndq2zefuyon7ce", "7frlwnuclgcebyip3cii4xbxavomfc2p"},
	{"mdmf-3-10-100", "752e84f516d22fe31a74b8af0643d492", "lqtmxlxsxkfcqiwubrqoxcolvy", "wcwvrmkdlo2zkckv762xmjzhq4jvbh2n"},
}

// secrets derives what the reference client used, from its master secret.
func (g goldenSlot) secrets(t *testing.T) (si storage.Index, peer [20]byte, we storage.WriteEnabler, ls storage.LeaseSecrets) {
	t.Helper()
	si, err := ids.ParseIndex(g.si)
	b, err2 := base32.Decode(g.peer)
	key, err3 := hex.DecodeString(g.writekey)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	peer = [20]byte(b)
	master := bytes.Repeat([]byte{0x11}, 32)
	renew, cancel := tagged.LeaseRenew(master, si, peer), tagged.LeaseCancel(master, si, peer)
	return si, peer, storage.NewWriteEnabler(tagged.WriteEnabler([16]byte(key), peer)),
		storage.LeaseSecrets{Renew: redact.New(string(renew[:])), Cancel: redact.New(string(cancel[:]))}
}

// slotData is the share in a container.
func slotData(t *testing.T, b []byte) []byte {
	t.Helper()
	c, err := parseSlot([slotHeader]byte(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return b[slotDataOff:][:c.data]
}

func readWhole(t *testing.T, s *Store, k key) []byte {
	t.Helper()
	got, err := s.ReadSlot(t.Context(), k.si, []storage.ShareNum{k.num}, []storage.Span{{Off: 0, Len: 1 << 40}})
	if err != nil || len(got[k.num]) != 1 {
		t.Fatalf("ReadSlot: %v, %v", got, err)
	}
	return got[k.num][0]
}

// TestServesReferenceSlots opens what the reference left, reads it, and
// overwrites it as the reference did: to the same file.
func TestServesReferenceSlots(t *testing.T) {
	for _, g := range goldenSlots {
		t.Run(g.name, func(t *testing.T) {
			si, peer, we, ls := g.secrets(t)
			one, two := golden(t, g.name+"-seq1"), golden(t, g.name+"-seq2")
			dir := t.TempDir()
			path := plant(t, dir, key{si, 0}, one)
			lease := binary.BigEndian.Uint32(two[slotLeasesOff+4:])
			now := time.Unix(int64(lease), 0).Add(-LeaseDuration)
			s := openTest(t, Config{Dir: dir, NodeID: peer, Now: func() time.Time { return now }})
			if got := readWhole(t, s, key{si, 0}); !bytes.Equal(got, slotData(t, one)) {
				t.Errorf("read %d bytes that differ from the share", len(got))
			}
			stranger := storage.NewWriteEnabler([32]byte{1})
			_, err := s.TestAndWrite(t.Context(), si, stranger, ls, nil, nil)
			if e, ok := errors.AsType[*storage.BadWriteEnablerError](err); !ok || e.NodeID != peer || !strings.Contains(err.Error(), g.peer) {
				t.Errorf("another write enabler: %v; want the name of the node", err)
			}
			w := map[storage.ShareNum]storage.SlotWrite{0: {
				Tests:  []storage.SlotTest{{Off: 0, Len: 41, Specimen: slotData(t, one)[:41]}},
				Writes: []storage.SlotPatch{{Off: 0, Data: slotData(t, two)}},
			}}
			if got, err := s.TestAndWrite(t.Context(), si, we, ls, w, nil); err != nil || !got.Applied {
				t.Fatalf("TestAndWrite: %+v, %v", got, err)
			}
			if got := mustRead(t, path); !bytes.Equal(got, two) {
				t.Errorf("the file differs from the reference's after the same write:\n%x\n%x", got[:slotDataOff], two[:slotDataOff])
			}
		})
	}
}

// TestWritesSlotsAsTheReference creates the golden share and compares files.
func TestWritesSlotsAsTheReference(t *testing.T) {
	for _, g := range goldenSlots {
		si, peer, we, ls := g.secrets(t)
		want := golden(t, g.name+"-seq1")
		now := time.Unix(int64(binary.BigEndian.Uint32(want[slotLeasesOff+4:])), 0).Add(-LeaseDuration)
		dir := t.TempDir()
		s := openTest(t, Config{Dir: dir, NodeID: peer, Now: func() time.Time { return now }})
		w := map[storage.ShareNum]storage.SlotWrite{0: {Writes: []storage.SlotPatch{{Off: 0, Data: slotData(t, want)}}}}
		if _, err := s.TestAndWrite(t.Context(), si, we, ls, w, nil); err != nil {
			t.Fatal(err)
		}
		if got := mustRead(t, filepath.Join(dir, "shares", g.si[:2], g.si, "0")); !bytes.Equal(got, want) {
			t.Errorf("%s: the file differs from the reference's:\n%x\n%x", g.name, got, want)
		}
	}
}

// TestSlotLeasesOnDisk checks the container's leases, of both versions: four
// places, then extra ones that move when the data grows.
func TestSlotLeasesOnDisk(t *testing.T) {
	for version := range maps.Keys(slotMagic) {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			dir, k, node := t.TempDir(), key{siA, 4}, [20]byte{9, 9}
			enabler, _ := testEnabler.Reveal()
			_, head := newSlot([20]byte{7}, enabler)
			copy(head, slotMagic[version])
			path := plant(t, dir, k, head)
			now := time.Unix(5000, 0)
			s := openTest(t, Config{Dir: dir, NodeID: node, Now: func() time.Time { return now }})
			for i := range 6 {
				if err := s.AddLease(t.Context(), k.si, manySecrets(i)); err != nil {
					t.Fatal(err)
				}
			}
			data := random(1, 1000)
			w := map[storage.ShareNum]storage.SlotWrite{k.num: {Writes: []storage.SlotPatch{{Off: 0, Data: data}}}}
			now = now.Add(time.Hour)
			if _, err := s.TestAndWrite(t.Context(), k.si, testEnabler, manySecrets(5), w, nil); err != nil {
				t.Fatal(err)
			}
			leases := make([][]byte, 6)
			for i := range leases {
				expires := time.Unix(5000, 0).Add(LeaseDuration)
				if i == 5 {
					expires = expires.Add(time.Hour)
				}
				l, err := newSlotLease(version, manySecrets(i), expires, node)
				if err != nil {
					t.Fatal(err)
				}
				if plain := strings.Contains(string(l.encode()), manySecrets(i).Renew.Reveal()); plain != (version == 1) {
					t.Errorf("a lease of version %d has its secret in plain: %v", version, plain)
				}
				leases[i] = l.encode()
			}
			want := slices.Concat(head[:slotLengthOff],
				binary.BigEndian.AppendUint64(nil, 1000), binary.BigEndian.AppendUint64(nil, slotDataOff+1000),
				slices.Concat(leases[:4]...), data, u32(2), leases[4], leases[5])
			if got := mustRead(t, path); !bytes.Equal(got, want) {
				t.Errorf("file:\n%x\nwant\n%x", got, want)
			}
			// Cut: the container stays as large, and the data comes no more.
			n := int64(10)
			w[k.num] = storage.SlotWrite{NewLength: &n}
			if _, err := s.TestAndWrite(t.Context(), k.si, testEnabler, manySecrets(5), w, nil); err != nil {
				t.Fatal(err)
			}
			binary.BigEndian.PutUint64(want[slotLengthOff:], 10)
			if got := mustRead(t, path); !bytes.Equal(got, want) {
				t.Errorf("after the cut the file is\n%x\nwant\n%x", got, want)
			}
		})
	}
}

// TestSlotsWhenFullOrReadOnly checks that neither the reserve nor read-only
// keeps an owner from a slot; only a lease beyond the four places needs room.
func TestSlotsWhenFullOrReadOnly(t *testing.T) {
	for name, cfg := range map[string]Config{"read-only": {ReadOnly: true}, "reserve": {ReservedSpace: 1 << 60}} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, cfg)
			write := func(ls storage.LeaseSecrets, data []byte) error {
				_, err := s.TestAndWrite(t.Context(), siA, testEnabler, ls, slotWrites{0: put(0, data)}, nil)
				return err
			}
			for i := range 4 {
				if err := write(manySecrets(i), random(i, 1000*i+5)); err != nil {
					t.Errorf("holder %d: %v", i, err)
				}
			}
			if err := write(manySecrets(4), random(9, 9000)); !errors.Is(err, storage.ErrNoSpace) {
				t.Errorf("a fifth holder: %v; want ErrNoSpace", err)
			}
			if err := s.AddLease(t.Context(), siA, manySecrets(4)); !errors.Is(err, storage.ErrNoSpace) {
				t.Errorf("a fifth lease: %v; want ErrNoSpace", err)
			}
			if got := readWhole(t, s, key{siA, 0}); !bytes.Equal(got, random(3, 3005)) {
				t.Errorf("after the refusal: %d bytes", len(got))
			}
			if err := write(manySecrets(1), random(5, 7000)); err != nil {
				t.Errorf("a holder again: %v", err)
			}
		})
	}
}

// TestSlotGap checks that a gap beyond what the disk has free is refused, and
// that one that fits takes no room.
func TestSlotGap(t *testing.T) {
	s := openTest(t, Config{})
	s.shares = &freeFS{filesystem: s.shares, free: 1 << 30}
	for _, first := range []bool{true, false} {
		_, err := s.TestAndWrite(t.Context(), siA, testEnabler, secretsA, slotWrites{0: put(1<<40, []byte("x"))}, nil)
		if !errors.Is(err, storage.ErrNoSpace) {
			t.Errorf("a gap of a terabyte: %v; want ErrNoSpace", err)
		}
		if first {
			if _, err := s.TestAndWrite(t.Context(), siA, testEnabler, secretsA, slotWrites{0: put(0, []byte("abc"))}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := readWhole(t, s, key{siA, 0}); string(got) != "abc" {
		t.Errorf("read %q", got)
	}
	if _, err := s.TestAndWrite(t.Context(), siA, testEnabler, secretsA, slotWrites{0: put(1<<29, []byte("x"))}, nil); err != nil {
		t.Errorf("a gap that fits: %v", err)
	}
	got, err := s.ReadSlot(t.Context(), siA, nil, []storage.Span{{Off: 0, Len: 1000}, {Off: 1<<29 - 500, Len: 1000}})
	want := [][]byte{append([]byte("abc"), make([]byte, 997)...), append(make([]byte, 500), 'x')}
	if err != nil || !slices.EqualFunc(got[0], want, bytes.Equal) {
		t.Errorf("around the gap: %d pieces, %v", len(got[0]), err)
	}
}

// TestForeignRedo checks that a redo file is left alone when another program
// has changed the share since, when the share is gone, and when it is damaged.
func TestForeignRedo(t *testing.T) {
	for name, meddle := range map[string]func(t *testing.T, share, redo string){
		"share changed": func(t *testing.T, share, _ string) {
			b := mustRead(t, share)
			copy(b[slotDataOff:], "another version")
			replace(t, share, b)
		},
		"share gone": func(t *testing.T, share, _ string) {
			if err := os.Remove(share); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, _, redo string) {
			b := mustRead(t, redo)
			b[len(b)/2] ^= 1
			replace(t, redo, b)
		},
		"short": func(t *testing.T, _, redo string) { replace(t, redo, []byte(redoMagic)) },
		"empty": func(t *testing.T, _, redo string) { replace(t, redo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, k := t.TempDir(), key{siA, 0}
			s := openTest(t, Config{Dir: dir})
			if _, err := s.TestAndWrite(t.Context(), k.si, testEnabler, secretsA, slotWrites{0: put(0, random(1, 500))}, nil); err != nil {
				t.Fatal(err)
			}
			share := filepath.Join(dir, "shares", filepath.FromSlash(k.path()))
			redo := filepath.Join(dir, "redo", k.redoName())
			f, err := s.redo.Create(k.redoName())
			if err != nil {
				t.Fatal(err)
			}
			before := [redoBefore]byte(mustRead(t, share)[slotDataOff:])
			if err := errors.Join(writeRedo(f, before, []patch{{off: slotDataOff + 5, data: []byte("from the redo file")}}), f.Close()); err != nil {
				t.Fatal(err)
			}
			meddle(t, share, redo)
			want, gone := os.ReadFile(share)
			again := openTest(t, Config{Dir: dir})
			if got, err := os.ReadFile(share); !bytes.Equal(got, want) || (err == nil) != (gone == nil) {
				t.Errorf("the share has become something else, %v", err)
			}
			if _, err := os.Stat(redo); !os.IsNotExist(err) {
				t.Errorf("the redo file is still there: %v", err)
			}
			if _, err := again.TestAndWrite(t.Context(), k.si, testEnabler, secretsA, slotWrites{0: put(0, []byte("x"))}, nil); err != nil {
				t.Errorf("writing afterwards: %v", err)
			}
		})
	}
}

func replace(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzSlotContainer reads and changes any file: no panic, and what is still a
// slot afterwards holds what was written.
func FuzzSlotContainer(f *testing.F) {
	_, head := newSlot([20]byte{}, [32]byte([]byte(strings.Repeat("w", 32))))
	f.Add(head, []byte("data"), uint16(3))
	f.Add(golden(f, "sdmf-3-10-100-seq1"), []byte("data"), uint16(3000))
	f.Add(golden(f, "chk-0"), []byte{}, uint16(0))
	f.Add([]byte(slotMagic[1]+strings.Repeat("\x00", 60)+strings.Repeat("\xff", 400)), []byte("x"), uint16(1))
	f.Fuzz(func(t *testing.T, b, data []byte, off uint16) {
		fsys := newCrashFS(&machine{})
		s, err := open(Config{}, fsys, newCrashFS(fsys.machine), newCrashFS(fsys.machine))
		if err != nil {
			t.Fatal(err)
		}
		k := key{siA, 0}
		if err := s.mkdirs(k.si); err != nil {
			t.Fatal(err)
		}
		file, _ := fsys.Create(k.path())
		file.WriteAt(b, 0)
		file.Close()
		held, err := s.ReadSlot(t.Context(), k.si, nil, []storage.Span{{Off: 0, Len: 1 << 40}})
		if err != nil {
			t.Fatalf("ReadSlot: %v", err)
		}
		if len(held) == 0 {
			return
		}
		c, err := parseSlot([slotHeader]byte(b), int64(len(b)))
		if err != nil {
			t.Fatalf("a slot that does not parse: %v", err)
		}
		want := becomes("!"+string(held[0][0]), put(int64(off), data))
		if _, err = s.TestAndWrite(t.Context(), k.si, storage.NewWriteEnabler(c.enabler), secretsA, slotWrites{0: put(int64(off), data)}, nil); err != nil {
			t.Fatalf("TestAndWrite: %v", err)
		}
		if err := s.AddLease(t.Context(), k.si, secretsB); err != nil {
			t.Fatalf("AddLease: %v", err)
		}
		held, err = s.ReadSlot(t.Context(), k.si, nil, []storage.Span{{Off: 0, Len: 1 << 40}})
		if err != nil || string(held[0][0]) != want[1:] {
			t.Errorf("read %d bytes, %v; want %d", len(held[0][0]), err, len(want)-1)
		}
	})
}

// FuzzRedo reads any redo file. The sum is made right, as it would keep
// everything else out.
func FuzzRedo(f *testing.F) {
	seed := func(patches ...patch) []byte {
		fsys := newCrashFS(&machine{})
		file, _ := fsys.Create("x")
		if err := writeRedo(file, [redoBefore]byte{}, patches); err != nil {
			f.Fatal(err)
		}
		return file.(*crashFile).node.data
	}
	f.Add(seed())
	f.Add(seed(patch{off: 5, data: []byte("abc")}, patch{off: 900, zeros: 1000}))
	f.Add(append([]byte(redoMagic), bytes.Repeat([]byte{0xff}, 90)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		fsys := newCrashFS(&machine{})
		file, _ := fsys.Create("x")
		if len(b) > 4 {
			file.WriteAt(b[:len(b)-4], 0)
			file.WriteAt(u32(sumOf(b[:len(b)-4])), int64(len(b)-4))
		}
		r, err := readRedo(file)
		if err != nil {
			if !errors.Is(err, errRedo) {
				t.Errorf("readRedo: %v", err)
			}
			return
		}
		var total int64
		err = r.each(func(p patch) error {
			total += int64(len(p.data))
			if p.off < 0 || p.zeros < 0 || p.end() < p.off {
				t.Errorf("impossible patch of %d bytes at %d", p.zeros, p.off)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errRedo) || total > int64(len(b)) {
			t.Errorf("%d bytes of patches from %d, %v", total, len(b), err)
		}
	})
}

func sumOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
