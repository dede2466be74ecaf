package foolscapstore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/memstore"
)

// testCerts take a while to make.
var testCerts = sync.OnceValue(func() (cs [2]tubcert.Cert) {
	for i := range cs {
		pem, err := tubcert.Generate(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
		if err == nil {
			cs[i], err = tubcert.Parse(pem)
		}
		if err != nil {
			panic(err)
		}
	}
	return cs
})

const testSwissnum = "7wfvm37lrvrakffe2qge55ty6vwhb5w6"

// rig is one served store and a Tub to reach it from.
type rig struct {
	net     *memnet.Net // nil over loopback
	store   storage.Server
	handler *Handler
	server  *foolscap.Tub
	client  *foolscap.Tub
	furl    furl.FURL
	log     *logBuffer
	stop    func() // ends serving
}

// bubble runs f in virtual time with a served store, memstore if it is nil.
func bubble(t *testing.T, store storage.Server, cfg HandlerConfig, f func(t *testing.T, r *rig)) {
	t.Helper()
	testCerts() // draws on the whole process, so not from inside
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(t)
		n.SetDefault(memnet.Link{Latency: 5 * time.Millisecond})
		l, err := n.Host("server").Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "server", Port: 4000})
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, l, "tcp:server:4000", n.Host("client"), store, cfg)
		r.net = n
		f(t, r)
	})
}

// loopbackRig is over real sockets.
func loopbackRig(t testing.TB, store storage.Server, cfg HandlerConfig) *rig {
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := netx.AddrOf(l)
	if err != nil {
		t.Fatal(err)
	}
	return newRig(t, l, fmt.Sprintf("tcp:127.0.0.1:%d", a.Port), netx.Loopback{}, store, cfg)
}

func newRig(t testing.TB, l net.Listener, hint string, from netx.Network, store storage.Server, cfg HandlerConfig) *rig {
	if store == nil {
		store = memstore.New(memstore.Config{})
	}
	r := &rig{store: store, log: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Server, cfg.Log, cfg.NodeID = store, log, testCerts()[0].TubIDBytes()
	r.handler = NewHandler(cfg)
	at, err := furl.ParseHint(hint)
	if err != nil {
		t.Fatal(err)
	}
	r.server = newTub(t, foolscap.Config{Cert: testCerts()[0], Hints: []furl.Hint{at}, Log: log})
	r.client = newTub(t, foolscap.Config{Cert: testCerts()[1], Network: from, Log: log})
	r.furl = r.server.Register(redact.New(testSwissnum), r.handler.Object())
	done := make(chan struct{})
	go func() { r.server.ServeListener(l); close(done) }()
	r.stop = sync.OnceFunc(func() {
		l.Close()
		closeTub(r.client)
		closeTub(r.server)
		<-done
		if err := r.handler.Close(context.Background()); err != nil {
			t.Errorf("Handler.Close: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func newTub(t testing.TB, cfg foolscap.Config) *foolscap.Tub {
	tub, err := foolscap.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tub
}

func closeTub(tub *foolscap.Tub) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	tub.Close(ctx)
}

// newClient returns a Client that ends before the rig does.
func (r *rig) newClient(t testing.TB, cfg Config) *Client {
	cfg.Tub, cfg.FURL = r.client, r.furl
	c := NewClient(cfg)
	t.Cleanup(func() { c.Close() })
	return c
}

// ref returns a plain reference to the served object.
func (r *rig) ref(t testing.TB) *foolscap.Ref {
	t.Helper()
	ref, err := r.client.Dial(t.Context(), r.furl, foolscap.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ref.Release)
	return ref
}

// logBuffer collects a log.
type logBuffer struct {
	mu sync.Mutex // guards below
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
