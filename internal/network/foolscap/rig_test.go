package foolscap

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
)

// testCerts are made once: a key takes a while. They are sorted, so that of
// two Tubs the one with the higher number is the master.
var testCerts = sync.OnceValue(func() []tubcert.Cert {
	var cs []tubcert.Cert
	for range 3 {
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
	slices.SortFunc(cs, func(a, b tubcert.Cert) int { return strings.Compare(a.TubID(), b.TubID()) })
	return cs
})

func testCert(_ testing.TB, n int) tubcert.Cert { return testCerts()[n] }

// rig is a network in memory with Tubs on it, in a bubble.
type rig struct {
	t    *testing.T
	net  *memnet.Net
	logs *logs
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	testCerts()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: memnet.New(t), logs: &logs{}}
		r.net.SetDefault(memnet.Link{Latency: 5 * time.Millisecond})
		f(r)
	})
}

// bothRoles runs a test twice: with the dialling side, Tub d, as the master,
// and with the listening side.
func bothRoles(t *testing.T, f func(r *rig, d, l int)) {
	t.Run("dialler is master", func(t *testing.T) { bubble(t, func(r *rig) { f(r, 1, 0) }) })
	t.Run("listener is master", func(t *testing.T) { bubble(t, func(r *rig) { f(r, 0, 1) }) })
}

const testPort = 4000

// tub returns a Tub with the nth certificate at a host.
func (r *rig) tub(host string, n int, limits Limits) *Tub {
	r.t.Helper()
	hint, err := furl.ParseHint("tcp:" + host + ":4000")
	if err != nil {
		r.t.Fatal(err)
	}
	t, err := New(Config{Cert: testCert(r.t, n), Network: r.net.Host(host), Hints: []furl.Hint{hint}, Limits: limits, Log: slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		t.Close(ctx)
	})
	return t
}

// listen has a Tub take connections at its host's port, until the result is
// called.
func (r *rig) listen(host string, t *Tub) (stop func()) {
	r.t.Helper()
	l, err := r.net.Host(host).Listen(r.t.Context(), netx.Addr{Kind: netx.TCP, Host: host, Port: testPort})
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { t.ServeListener(l); close(done) }()
	stop = sync.OnceFunc(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		t.Close(ctx)
		<-done
	})
	r.t.Cleanup(stop)
	return stop
}

// pair returns a Tub at alice connected to one at bob, and its reference to
// bob's object.
func (r *rig) pair(d, l int, dl, ll Limits, obj *Object) (alice, bob *Tub, ref *Ref) {
	r.t.Helper()
	alice, bob = r.tub("alice", d, dl), r.tub("bob", l, ll)
	r.listen("bob", bob)
	f := bob.Register(NewSwissnum(), obj)
	ref, err := alice.Dial(r.t.Context(), f, DialOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return alice, bob, ref
}

// logs collects what is logged.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// echo returns its argument.
var echo = &Object{Iface: "RIEcho.test", Methods: map[string]*Method{
	"echo": {
		Args:  []Arg{{Name: "v", Schema: banana.Any()}},
		Limit: 8 << 20,
		Do:    func(_ context.Context, c *Call) (any, error) { return c.Value(0), nil },
	},
	"fail": {Do: func(context.Context, *Call) (any, error) {
		return nil, &RemoteError{Type: "tests.Sad", Value: "no", Parents: []string{"tests.Sad", "tests.Mood", "builtins.Exception"}}
	}},
	"hide":   {Do: func(context.Context, *Call) (any, error) { return nil, context.DeadlineExceeded }},
	"panic":  {Do: func(_ context.Context, c *Call) (any, error) { return c.Int(9), nil }},
	"struct": {Do: func(context.Context, *Call) (any, error) { return struct{}{}, nil }},
	"typed": {Args: []Arg{
		{Name: "a", Schema: banana.Bytes(4)}, {Name: "b", Schema: banana.Size()}, {Name: "c", Schema: banana.Bool(), Optional: true},
	}, Do: func(_ context.Context, c *Call) (any, error) {
		return banana.List{c.Bytes(0), c.Int(1), c.Value(2)}, nil
	}},
}}

// counts is what a connection keeps.
type counts struct{ lent, held, waiting, dropped int }

func count(c *Conn) counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lent) != len(c.lentBy) {
		panic("lent and lentBy differ")
	}
	return counts{len(c.lent), len(c.theirs), len(c.waiting), c.dropped}
}
