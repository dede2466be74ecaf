// Package immutable stores and fetches immutable files: it walks bytes
// between chk, which knows what a file becomes, and storage servers, which
// keep it.
//
// An upload asks servers for room (place.go, with the plan from happiness),
// encodes and pushes (push.go). A download finds shares (find.go), fetches
// proven blocks and decodes (fetch.go). A check asks who has what (check.go); a
// repair reads the ciphertext and places what is missing (repair.go). A file of at most 55 bytes is its own
// cap and touches no server.
//
// It chooses no servers by itself (Servers hands them out in order), keeps no
// connection and knows no directories. Start with New, Client.Upload and
// Client.Open.
package immutable

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// Servers hands out the servers that may be used now, in permuted order. The
// slices are the caller's to keep.
type Servers interface {
	ForUpload(si storage.Index) []storage.Peer
	ForRead(si storage.Index) []storage.Peer
}

// Config is how a node stores and fetches.
type Config struct {
	Servers Servers
	// K of N shares suffice to read a file; Happy is the least servers of
	// happiness to call it stored. 1 <= K <= Happy <= N <= 256.
	K, Happy, N int
	// SegmentSize is the most bytes encoded at once; 0: chk's default, 1 MiB.
	SegmentSize int64
	// LeaseSecret is the node's private/secret, from which the lease secrets
	// for each server and file are derived.
	LeaseSecret redact.Secret
	Patience    Patience
	Log         *slog.Logger // nil: none
}

// Patience says how long to wait for servers. Zero fields take the value
// named, which suits the clear network; over Tor all should be longer.
type Patience struct {
	// Ask bounds one question to a server: room, or shares held. 0: 15 s.
	Ask time.Duration
	// Straggle is how long the others' answers are waited for once half of
	// the servers have answered; at least. 0: 2 s.
	Straggle time.Duration
	// Stall is how long a server may make no progress. 0: 60 s.
	Stall time.Duration
	// Hedge is how long a block may be late before another share is asked
	// for it as well; at least. 0: 1 s.
	Hedge time.Duration
	// Outage is how long an operation that has lost its servers waits for
	// them to come back. 0: not at all.
	Outage time.Duration
}

// Client uploads and opens files. It may be used concurrently.
type Client struct {
	c     Config
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup
	turns turns // of uploads
	trips trips

	repairs chan struct{} // full while repairsAtOnce are reading and sending
}

// New checks c.
func New(c Config) (*Client, error) {
	if err := checkEncoding(c.K, c.Happy, c.N); err != nil {
		return nil, err
	}
	or(&c.SegmentSize, chk.DefaultSegmentSize)
	or(&c.Patience.Ask, 15*time.Second)
	or(&c.Patience.Straggle, 2*time.Second)
	or(&c.Patience.Stall, time.Minute)
	or(&c.Patience.Hedge, time.Second)
	or(&c.Log, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	return &Client{c: c, ctx: ctx, stop: stop, repairs: make(chan struct{}, repairsAtOnce)}, nil
}

// Close ends what goes on behind the operations, which must have ended.
func (c *Client) Close() {
	c.stop()
	c.wg.Wait()
}

func or[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// leaseSecrets derives what peer records our lease on si under.
func (c *Client) leaseSecrets(si storage.Index, peer storage.Peer) storage.LeaseSecrets {
	return peer.LeaseSecrets(c.c.LeaseSecret, si)
}

// Trace watches an operation. Any field may be nil. The functions are called
// from the operation's goroutines, several at once, and must not block.
type Trace struct {
	// Asked: a server answered a question, with the shares it holds.
	Asked func(server string, found []storage.ShareNum, err error, took time.Duration)
	// Placed: a share was found or given a home.
	Placed func(server string, num storage.ShareNum, existing bool)
	// Encoded: so many bytes of the plaintext have been encoded and handed
	// to the servers' queues.
	Encoded func(done, total int64)
	// Pushed: bytes of a share have been acknowledged.
	Pushed func(server string, num storage.ShareNum, bytes int)
	// Block: a proven block was fetched.
	Block func(server string, num storage.ShareNum, seg int64, bytes int, took time.Duration)
	// Dropped: a share or its server is no longer used.
	Dropped func(server string, num storage.ShareNum, why error)
}

func (t *Trace) asked(server string, found []storage.ShareNum, err error, took time.Duration) {
	if t != nil && t.Asked != nil {
		t.Asked(server, found, err, took)
	}
}

func (t *Trace) placed(server string, num storage.ShareNum, existing bool) {
	if t != nil && t.Placed != nil {
		t.Placed(server, num, existing)
	}
}

func (t *Trace) encoded(done, total int64) {
	if t != nil && t.Encoded != nil {
		t.Encoded(done, total)
	}
}

func (t *Trace) pushed(server string, num storage.ShareNum, bytes int) {
	if t != nil && t.Pushed != nil {
		t.Pushed(server, num, bytes)
	}
}

func (t *Trace) block(server string, num storage.ShareNum, seg int64, bytes int, took time.Duration) {
	if t != nil && t.Block != nil {
		t.Block(server, num, seg, bytes, took)
	}
}

func (t *Trace) dropped(server string, num storage.ShareNum, why error) {
	if t != nil && t.Dropped != nil {
		t.Dropped(server, num, why)
	}
}

// background is a context that outlives ctx's cancelling but not limit, for
// the last words to a server.
func background(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
