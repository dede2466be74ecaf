package introducer

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
)

// certs are made once: a key takes a while.
var certs = sync.OnceValue(func() []tubcert.Cert {
	var cs []tubcert.Cert
	for range 4 {
		pem, err := tubcert.Generate(time.Now())
		if err != nil {
			panic(err)
		}
		c, err := tubcert.Parse(pem)
		if err != nil {
			panic(err)
		}
		cs = append(cs, c)
	}
	return cs
})

// rig is a network in memory, with an introducer at the host "hub".
type rig struct {
	t    *testing.T
	net  *memnet.Net
	root *os.Root // of the introducer
	name redact.Secret

	limits foolscap.Limits // of all Tubs
}

// long is for tests of many days, in which signs of life take most of the time.
var long = foolscap.Limits{Keepalive: -1, Disconnect: -1}

func bubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	certs()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: memnet.New(t), root: tempRoot(t), name: foolscap.NewSwissnum()}
		r.net.SetDefault(memnet.Link{Latency: 5 * time.Millisecond})
		f(r)
	})
}

func tempRoot(t testing.TB) *os.Root {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// tub returns a Tub with the nth certificate.
func (r *rig) tub(host string, n int) *foolscap.Tub {
	r.t.Helper()
	hint, err := furl.ParseHint("tcp:" + host + ":4000")
	if err != nil {
		r.t.Fatal(err)
	}
	tub, err := foolscap.New(foolscap.Config{Cert: certs()[n], Network: r.net.Host(host), Hints: []furl.Hint{hint}, Limits: r.limits})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { closeTub(tub) })
	return tub
}

func closeTub(tub *foolscap.Tub) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	tub.Close(ctx)
}

// listen has a Tub take connections at its host.
func (r *rig) listen(host string, tub *foolscap.Tub) (stop func()) {
	r.t.Helper()
	l, err := r.net.Host(host).Listen(r.t.Context(), netx.Addr{Kind: netx.TCP, Host: host, Port: 4000})
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { tub.ServeListener(l); close(done) }()
	stop = sync.OnceFunc(func() {
		l.Close()
		closeTub(tub)
		<-done
	})
	r.t.Cleanup(stop)
	return stop
}

// hub starts the introducer, with the memory of the one before.
func (r *rig) hub(limits Limits) (s *Server, stop func()) {
	r.t.Helper()
	tub := r.tub("hub", 0)
	s, err := NewServer(ServerConfig{Tub: tub, Swissnum: r.name, Root: r.root, Limits: limits})
	if err != nil {
		r.t.Fatal(err)
	}
	stopListening := r.listen("hub", tub)
	stop = sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
		stopListening()
	})
	r.t.Cleanup(stop)
	return s, stop
}

// sink remembers what it was told.
type sink struct {
	mu   sync.Mutex
	told []announce.Server
}

func (s *sink) Announced(a announce.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, a)
}

// take returns what came since the last take, as nicknames.
func (s *sink) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := ""
	for _, a := range s.told {
		out += a.Nickname + " "
	}
	s.told = nil
	return out
}

// client starts a client at a host with the nth certificate.
func (r *rig) client(host string, n int, at furl.FURL, change func(*ClientConfig)) (*Client, *sink) {
	r.t.Helper()
	s := &sink{}
	conf := ClientConfig{Tub: r.tub(host, n), FURL: at, Petname: "hub", Nickname: host, Sink: s, Key: key(byte(n)), Sequence: counter(0)}
	if change != nil {
		change(&conf)
	}
	c, err := NewClient(conf)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c, s
}

func counter(last int64) func() (int64, error) {
	return func() (int64, error) { last++; return last, nil }
}

func key(n byte) announce.SigningKey {
	seed := make([]byte, 32)
	seed[0] = n
	k, err := announce.SigningKeyOf(redact.New(string(seed)))
	if err != nil {
		panic(err)
	}
	return k
}

// server is a storage server to announce.
func server(nickname string) announce.Server {
	f, err := furl.ParseFURL(fmt.Sprintf("pb://%s@tcp:192.0.2.1:1/aaaaaaaaaaaaaaaa", certs()[3].TubID()))
	if err != nil {
		panic(err)
	}
	return announce.Server{Nickname: nickname, Version: "test/1", FURL: f, Seed: make([]byte, 20)}
}

func sign(t testing.TB, n byte, nickname string, seqnum int64) announce.Signed {
	t.Helper()
	s, err := server(nickname).Sign(key(n), seqnum, []byte("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
