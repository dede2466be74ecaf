package diskstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

func header(version, length, leases uint32) [headerSize]byte {
	var h [headerSize]byte
	binary.BigEndian.PutUint32(h[0:], version)
	binary.BigEndian.PutUint32(h[4:], length)
	binary.BigEndian.PutUint32(h[8:], leases)
	return h
}

func TestParseContainer(t *testing.T) {
	const big = 5 << 30
	tests := []struct {
		name         string
		h            [headerSize]byte
		size         int64
		data, leases int64
		bad          bool
	}{
		{"no lease", header(2, 100, 0), 112, 100, 0, false},
		{"one lease", header(2, 100, 1), 112 + 72, 100, 1, false},
		{"version 1", header(1, 100, 2), 112 + 144, 100, 2, false},
		{"empty", header(2, 0, 1), 12 + 72, 0, 1, false},
		{"lease cut short", header(2, 100, 1), 112 + 72 + 40, 100, 1, false},
		{"lease whole, count not", header(2, 100, 1), 112 + 144, 100, 1, false},
		{"count written, lease not", header(2, 100, 2), 112 + 72, 100, 1, false},
		{"count written, lease half", header(2, 100, 2), 112 + 72 + 40, 100, 1, false},
		{"count of all ones", header(2, 100, math.MaxUint32), 112 + 72, 100, 1, false},
		{"length field of no use", header(2, 3, 1), 112 + 72, 100, 1, false},
		{"length field too long", header(2, 300, 1), 112 + 72, 100, 1, false},
		{"big, saturated", header(2, math.MaxUint32, 2), 12 + big + 144, big, 2, false},
		{"big, modulo", header(1, big&math.MaxUint32, 1), 12 + big + 72, big, 1, false},
		{"just below", header(2, math.MaxUint32-1, 1), 12 + math.MaxUint32 - 1 + 72 + 9, math.MaxUint32 - 1, 1, false},
		{"version 0", header(0, 100, 1), 112 + 72, 0, 0, true},
		{"version 3", header(3, 100, 1), 112 + 72, 0, 0, true},
		{"mutable", [headerSize]byte([]byte("Tahoe mutabl")), 500, 0, 0, true},
		{"more leases than file", header(2, 100, 9), 50, 0, 0, true},
		{"no header", header(2, 0, 0), 11, 0, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseContainer(tt.h, tt.size)
			if tt.bad {
				if !errors.Is(err, errNotContainer) {
					t.Errorf("error %v; want errNotContainer", err)
				}
				return
			}
			if err != nil || c.data != tt.data || c.leases != tt.leases {
				t.Errorf("data %d, leases %d, %v; want %d, %d", c.data, c.leases, err, tt.data, tt.leases)
			}
		})
	}
}

func TestLeaseCountStops(t *testing.T) {
	f := memFile(nil)
	if err := addLease(f, container{version: 2, leases: maxLeases}, lease{}); err == nil {
		t.Error("a lease was added to a container that cannot count it")
	}
	if len(f.node.data) != 0 {
		t.Error("the refused lease was written")
	}
}

func TestLeaseExpiryIsClamped(t *testing.T) {
	for _, tt := range []struct {
		at   time.Time
		want uint32
	}{
		{time.Unix(-5, 0), 0}, {time.Unix(7, 9e8), 7}, {time.Unix(math.MaxUint32, 0), math.MaxUint32},
		{time.Unix(math.MaxUint32+1, 0), math.MaxUint32},
	} {
		if l, err := newLease(2, 0, secretsA, tt.at); err != nil || l.expires != tt.want {
			t.Errorf("newLease until %v: expires %d, %v; want %d", tt.at, l.expires, err, tt.want)
		}
	}
}

// memFile is a file over these bytes.
func memFile(b []byte) *crashFile {
	return &crashFile{newCrashFS(&machine{}), &inode{data: b, onDisk: b}, "share"}
}

// TestLeasesModel compares a container with a map from secret to expiry.
func TestLeasesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.Uint32Range(1, 2).Draw(t, "version")
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		h := header(version, uint32(len(data)), 0)
		k := key{siA, 0}
		now := time.Unix(1_700_000_000, 0)
		fsys := newCrashFS(&machine{})
		s, err := open(Config{Now: func() time.Time { return now }}, fsys, newCrashFS(fsys.machine), newCrashFS(fsys.machine))
		if err != nil {
			t.Fatal(err)
		}
		fsys.root.names[prefixDir(siA)] = newDir()
		dir := newDir()
		fsys.root.names[prefixDir(siA)].names[siA.String()] = dir
		dir.names["0"] = &inode{data: append(h[:], data...)}

		model := map[byte]uint32{}
		var order []byte
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-100, 1000).Draw(t, "seconds")) * time.Second)
			who := rapid.ByteRange('a', 'f').Draw(t, "who")
			secret := bytes.Repeat([]byte{who}, 32)
			ls := storage.LeaseSecrets{Renew: redact.New(string(secret)), Cancel: redact.New(string(secret))}
			if err := s.AddLease(t.Context(), siA, ls); err != nil {
				t.Fatal(err)
			}
			if model[who] == 0 {
				order = append(order, who)
			}
			model[who] = max(model[who], uint32(now.Add(LeaseDuration).Unix()))

			f, c, err := s.openShare(k)
			if err != nil || c.data != int64(len(data)) || c.leases != int64(len(order)) || c.leaseOff(c.leases) != int64(len(dir.names["0"].data)) {
				t.Fatalf("container %+v, %v; want %d bytes and %d leases", c, err, len(data), len(order))
			}
			for i, l := range leases(f, c, &err) {
				want, _ := newLease(version, ownerAdded, storage.LeaseSecrets{
					Renew:  redact.New(string(bytes.Repeat(order[i:i+1], 32))),
					Cancel: redact.New(string(bytes.Repeat(order[i:i+1], 32))),
				}, time.Unix(int64(model[order[i]]), 0))
				if *l != want {
					t.Fatalf("lease %d of %q: %v; want %v", i, order[i], *l, want)
				}
			}
		}
		p := make([]byte, 1000)
		if n, err := (reader{s, k}).ReadAt(t.Context(), p, 0); err != io.EOF || !bytes.Equal(p[:n], data) {
			t.Fatalf("data changed: %d bytes, %v", n, err)
		}
	})
}

// FuzzContainer treats any bytes as a share file: nothing panics, reads stay
// inside the data, and leases leave the data alone.
func FuzzContainer(f *testing.F) {
	f.Add(golden(f, "chk-0"), int64(0))
	f.Add(golden(f, "chk-5"), int64(900))
	h := header(2, 5, 1)
	f.Add(append(h[:], "hello"...), int64(3))
	h = header(1, math.MaxUint32, math.MaxUint32)
	f.Add(append(h[:], make([]byte, 144)...), int64(100))
	f.Fuzz(func(t *testing.T, b []byte, off int64) {
		file := memFile(bytes.Clone(b))
		c, err := readContainer(file)
		if err != nil {
			return
		}
		if c.data < 0 || c.leases < 0 || c.leaseOff(c.leases) > int64(len(b)) {
			t.Fatalf("container %+v of %d bytes", c, len(b))
		}
		fsys := newCrashFS(&machine{})
		s, err := open(Config{}, fsys, newCrashFS(fsys.machine), newCrashFS(fsys.machine))
		if err != nil {
			t.Fatal(err)
		}
		fsys.root.names[prefixDir(siA)] = newDir()
		dir := newDir()
		fsys.root.names[prefixDir(siA)].names[siA.String()] = dir
		dir.names["0"] = file.node
		read := func() []byte {
			p := make([]byte, len(b)+100)
			n, err := (reader{s, key{siA, 0}}).ReadAt(t.Context(), p, max(0, off))
			if err != nil && err != io.EOF {
				t.Fatalf("ReadAt: %v", err)
			}
			return p[:n]
		}
		end := headerSize + c.data
		from := min(end, headerSize+min(max(0, off), c.data))
		if got := read(); !bytes.Equal(got, b[from:end]) {
			t.Fatalf("read %d bytes at %d of %+v", len(got), off, c)
		}
		for _, ls := range []storage.LeaseSecrets{secretsA, secretsB, secretsA} {
			if err := s.AddLease(t.Context(), siA, ls); err != nil {
				t.Fatalf("AddLease: %v", err)
			}
		}
		if got := read(); !bytes.Equal(got, b[from:end]) {
			t.Fatalf("leases changed the data of %+v", c)
		}
	})
}
