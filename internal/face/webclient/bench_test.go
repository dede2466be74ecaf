package webclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"tahoe-go/internal/face/webapi"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/spool"
	"tahoe-go/internal/network/netx"
)

// The whole way through a gateway on loopback, 3 of 5 shares on servers in
// memory.
func BenchmarkPutGet(b *testing.B) {
	const size = 64 << 20
	s := newServers(b, 5)
	files, err := immutable.New(immutable.Config{Servers: s, K: 3, Happy: 4, N: 5, LeaseSecret: redact.New("lease secret of the test, 32 byte")})
	if err != nil {
		b.Fatal(err)
	}
	h := webapi.New(webapi.Config{Files: files, Grid: s, K: 3, Happy: 4, N: 5, Spool: spool.Config{Dir: b.TempDir()}, Convergence: redact.New("circle")})
	l, err := netx.Loopback{}.Listen(b.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		b.Fatal(err)
	}
	at, err := netx.AddrOf(l)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- webapi.Serve(ctx, l, h) }()
	c, err := New(Config{URL: fmt.Sprintf("http://127.0.0.1:%d/", at.Port)})
	if err != nil {
		b.Fatal(err)
	}
	data := pattern(size)
	cap, err := c.Put(b.Context(), bytes.NewReader(data), size, PutOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("put", func(b *testing.B) {
		b.SetBytes(size)
		for i := 0; b.Loop(); i++ {
			data[0]++ // another file each time
			if _, err := c.Put(b.Context(), bytes.NewReader(data), size, PutOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if _, err := c.Get(b.Context(), cap, io.Discard, GetOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first byte", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Get(b.Context(), cap, io.Discard, GetOptions{Range: Range{Len: 1}}); err != nil {
				b.Fatal(err)
			}
		}
	})
	c.Close()
	cancel()
	<-done
}
