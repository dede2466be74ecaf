package foolscap

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/network/netx"
)

// loopback connects two Tubs over a real socket.
func loopback(b *testing.B, obj *Object) *Ref {
	b.Helper()
	l, err := netx.Loopback{}.Listen(b.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		b.Fatal(err)
	}
	a, err := netx.AddrOf(l)
	if err != nil {
		b.Fatal(err)
	}
	hint, err := furl.ParseHint(fmt.Sprintf("tcp:127.0.0.1:%d", a.Port))
	if err != nil {
		b.Fatal(err)
	}
	var tubs [2]*Tub
	for i := range tubs {
		tubs[i], err = New(Config{Cert: testCert(b, i), Network: netx.Loopback{}, Hints: []furl.Hint{hint}})
		if err != nil {
			b.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() { tubs[1].ServeListener(l); close(done) }()
	b.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tubs[0].Close(ctx)
		tubs[1].Close(ctx)
		<-done
	})
	ref, err := tubs[0].Dial(b.Context(), tubs[1].Register(NewSwissnum(), obj), DialOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return ref
}

// store is a share without a disk.
func store() *Object {
	share := make([]byte, 1<<20)
	return &Object{Methods: map[string]*Method{
		"write": {Args: []Arg{{Name: "offset", Schema: banana.Size()}, {Name: "data", Schema: banana.Bytes(4 << 20)}}, Limit: 5 << 20, Do: func(_ context.Context, c *Call) (any, error) {
			copy(share, c.Bytes(1))
			return nil, nil
		}},
		"read": {Args: []Arg{{Name: "offset", Schema: banana.Size()}, {Name: "length", Schema: banana.Size()}}, Concurrent: true, Do: func(_ context.Context, c *Call) (any, error) {
			return share[:min(c.Int(1), int64(len(share)))], nil
		}},
	}}
}

// BenchmarkWrite and BenchmarkRead move blocks as an upload and a download do,
// a few at a time.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{350 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			ref := loopback(b, store())
			block := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.SetParallelism(2)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := ref.Call(b.Context(), "write", banana.None(), 0, block); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{350 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			ref := loopback(b, store())
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.SetParallelism(2)
			b.RunParallel(func(p *testing.PB) {
				block := make([]byte, size)
				for p.Next() {
					if _, err := ref.Call(b.Context(), "read", banana.Into(block), 0, size); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkCall is one small call after another.
func BenchmarkCall(b *testing.B) {
	ref := loopback(b, store())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ref.Call(b.Context(), "read", nil, 0, 32); err != nil {
			b.Fatal(err)
		}
	}
}
