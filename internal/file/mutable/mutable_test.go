package mutable

import (
	"bytes"
	"fmt"
	"testing"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

type fixed []storage.Peer

func (f fixed) ForUpload(storage.Index) []storage.Peer { return f }
func (f fixed) ForRead(storage.Index) []storage.Peer   { return f }

func TestCreateReadWrite(t *testing.T) {
	var peers fixed
	for i := range 5 {
		peers = append(peers, storage.Peer{ID: fmt.Sprint("s", i), LeaseSeed: [20]byte{byte(i)}, Server: memstore.New(memstore.Config{})})
	}
	c, err := New(Config{Servers: peers, K: 3, N: 10, LeaseSecret: redact.New("secret")})
	if err != nil {
		t.Fatal(err)
	}
	for _, mdmf := range []bool{false, true} {
		first := bytes.Repeat([]byte("0123456789"), 40_000)
		cap, err := c.Create(t.Context(), CreateOptions{MDMF: mdmf}, func(caps.SSK) ([]byte, error) { return first, nil }, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Open(cap)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := f.Read(t.Context(), nil)
		if err != nil || !bytes.Equal(got, first) {
			t.Fatalf("Read = %d bytes, %v", len(got), err)
		}
		if err := f.WriteAt(t.Context(), []byte("abc"), 399_999, nil); err != nil {
			t.Fatal(err)
		}
		want := append(bytes.Clone(first[:399_999]), "abc"...)
		if got, _, err = f.Read(t.Context(), nil); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after WriteAt: Read = %d bytes, %v", len(got), err)
		}
		if err := f.Overwrite(t.Context(), []byte("short"), nil); err != nil {
			t.Fatal(err)
		}
		if got, v, err := f.Read(t.Context(), nil); err != nil || string(got) != "short" || v.Seqnum != 3 {
			t.Fatalf("after Overwrite: Read = %q, %d, %v", got, v.Seqnum, err)
		}
	}
}
