package foolscapstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// batch is the most share data in one call for a bucket, in bytes.
const batch = 1 << 20

// Config says which server a Client talks to.
type Config struct {
	Tub  *foolscap.Tub // makes the connections; required
	FURL furl.FURL     // of the server's RIStorageServer
	// Isolation keeps this server's connections on circuits of its own; see
	// netx.Addr.
	Isolation string
	// Call is the time for one call, from start to end, a new connection
	// included; each MiB of share data that is under way adds as much. 0: 2 min.
	Call time.Duration
	// OnDemand connects when something is asked, and not before, nor again
	// after a loss: for those who look after their servers themselves.
	OnDemand bool
}

// Client is a storage server reached over Foolscap. It stays connected, as far
// as that is possible, until Close. It may be used concurrently.
type Client struct {
	cfg     Config
	keep    *foolscap.Reconnector // nil: OnDemand
	canary  *foolscap.Object      // tells the server that this side is there
	pending atomic.Int64          // bytes of share data under way
	tasks   sync.WaitGroup        // what goes on after its caller has left
	life    context.Context       // of the calls of tasks
	end     context.CancelFunc
	readers readers

	mu   sync.Mutex    // guards below
	last *foolscap.Ref // of the server, OnDemand; nil: none yet
}

var _ storage.Server = (*Client)(nil)

// NewClient returns a Client, which begins to connect.
func NewClient(cfg Config) *Client {
	if cfg.Call == 0 {
		cfg.Call = 2 * time.Minute
	}
	life, end := context.WithCancel(context.Background())
	c := &Client{life: life, end: end, cfg: cfg, canary: &foolscap.Object{}}
	if !cfg.OnDemand {
		c.keep = cfg.Tub.Keep(cfg.FURL, foolscap.KeepOptions{Isolation: cfg.Isolation})
	}
	return c
}

// Status says how the connection fares, of a Client that is not OnDemand.
func (c *Client) Status() foolscap.Status {
	if c.keep == nil {
		return foolscap.Status{}
	}
	return c.keep.Status()
}

// Hint is the place that the present connection leads to, as the fURL names
// it; empty if there is none, or the server has made it.
func (c *Client) Hint() string {
	for _, conn := range c.cfg.Tub.Conns() {
		if conn.Peer() == c.cfg.FURL.TubID {
			return conn.Info().Hint
		}
	}
	return ""
}

// Retry connects at once, if that is due later.
func (c *Client) Retry() {
	if c.keep != nil {
		c.keep.Retry()
	}
}

// Close ends the efforts to stay connected and waits for what the Client has
// begun. The connection itself is the Tub's, and calls under way go on.
func (c *Client) Close() error {
	c.end()
	if c.keep != nil {
		c.keep.Stop()
	}
	c.tasks.Wait()
	c.readers.releaseAll()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last.Release()
	c.last = nil
	return nil
}

// server returns the remote server, connecting if need be. The caller releases
// it.
func (c *Client) server(ctx context.Context) (*foolscap.Ref, error) {
	if c.keep == nil {
		return c.onDemand(ctx)
	}
	if ref := c.keep.Ref(); ref != nil && ref.Conn().Err() == nil {
		return ref.Hold(), nil
	}
	if c.keep.Status().State == foolscap.Stopped {
		return nil, foolscap.ErrClosed
	}
	return c.cfg.Tub.Dial(ctx, c.cfg.FURL, foolscap.DialOptions{Isolation: c.cfg.Isolation})
}

// onDemand is server for a Client that connects when it must.
func (c *Client) onDemand(ctx context.Context) (*foolscap.Ref, error) {
	if c.life.Err() != nil {
		return nil, foolscap.ErrClosed
	}
	if ref := c.held(); ref != nil {
		return ref, nil
	}
	ref, err := c.cfg.Tub.Dial(ctx, c.cfg.FURL, foolscap.DialOptions{Isolation: c.cfg.Isolation})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || c.last.Conn() != ref.Conn() {
		c.last.Release()
		c.last = ref.Hold()
	}
	return ref, nil
}

// held returns the reference that was asked for before, unless its connection
// has ended.
func (c *Client) held() *foolscap.Ref {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || c.last.Conn().Err() != nil {
		return nil
	}
	return c.last.Hold()
}

// ask calls a method of the server.
func (c *Client) ask(ctx context.Context, bytes int64, method string, result *banana.Schema, args ...any) (v any, err error) {
	err = c.timed(ctx, bytes, func(ctx context.Context) error {
		ref, err := c.server(ctx)
		if err != nil {
			return err
		}
		defer ref.Release()
		v, err = ref.Call(ctx, method, result, args...)
		return err
	})
	return v, err
}

// timed bounds a call that moves so many bytes of share data. All that is under
// way shares the connection, so each call gets the time of all.
func (c *Client) timed(ctx context.Context, bytes int64, call func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	under := c.pending.Add(bytes)
	defer c.pending.Add(-bytes)
	limit := c.cfg.Call * time.Duration(1+under/batch)
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := call(timed)
	if err != nil && timed.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("no answer within %v: %w", limit, err)
	}
	return local(err)
}

// Version implements storage.Server.
func (c *Client) Version(ctx context.Context) (storage.Version, error) {
	v, err := c.ask(ctx, 0, "get_version", banana.DictOf(banana.Bytes(1000), banana.Any(), 100))
	if err != nil {
		return storage.Version{}, fmt.Errorf("asking for the version: %w", err)
	}
	all := v.(banana.Dict)
	inner, _ := all.Get(protocolKey)
	limits, _ := inner.(banana.Dict)
	application, _ := all.Get("application-version")
	name, _ := application.([]byte)
	return storage.Version{
		// What a server that says nothing is taken for is as in the reference.
		MaxImmutableShareSize: number(limits, "maximum-immutable-share-size", 1<<32),
		MaxMutableShareSize:   number(limits, "maximum-mutable-share-size", maxMutable),
		AvailableSpace:        number(limits, "available-space", math.MaxInt64),
		Application:           string(name[:min(len(name), 200)]),
	}, nil
}

func number(d banana.Dict, key string, otherwise int64) int64 {
	switch v, _ := d.Get(key); v := v.(type) {
	case int64:
		return max(0, v)
	case *big.Int:
		if v.Sign() > 0 { // does not fit
			return math.MaxInt64
		}
		return 0
	}
	return otherwise
}

// AddLease implements storage.Server. The protocol does not say whether there
// was something to lease, so that is asked, too.
func (c *Client) AddLease(ctx context.Context, si storage.Index, ls storage.LeaseSecrets) error {
	if err := c.addLease(ctx, si, ls); err != nil {
		return fmt.Errorf("adding a lease to %s: %w", si.Short(), err)
	}
	return nil
}

func (c *Client) addLease(ctx context.Context, si storage.Index, ls storage.LeaseSecrets) error {
	if _, err := c.ask(ctx, 0, "add_lease", nil, si[:], []byte(ls.Renew.Reveal()), []byte(ls.Cancel.Reveal())); err != nil {
		return err
	}
	held, err := c.buckets(ctx, si)
	for _, ref := range held {
		ref.Release()
	}
	if isContainer(err) || len(held) > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	slots, err := c.readSlot(ctx, si, nil, nil)
	if err == nil && len(slots) == 0 {
		err = storage.ErrNotFound
	}
	return err
}

// isContainer reports whether the reference stumbled over a share of the other
// kind.
func isContainer(err error) bool {
	return errors.Is(err, &foolscap.RemoteError{Type: classContainer})
}

// bucketsOf takes what refs names from a dict; the caller releases them. What
// is not wanted is released.
func bucketsOf(d banana.Dict, wanted func(storage.ShareNum) bool) map[storage.ShareNum]*foolscap.Ref {
	out := make(map[storage.ShareNum]*foolscap.Ref)
	for _, p := range d {
		ref, ok := p.Value.(*foolscap.Ref)
		num := storage.ShareNum(p.Key.(int64))
		switch {
		case !ok: // one of our own objects
		case out[num] != nil || !wanted(num):
			ref.Release()
		default:
			out[num] = ref
		}
	}
	return out
}
