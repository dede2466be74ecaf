// Package mutable reads and writes mutable files: it walks versions between
// ssk, which turns contents into signed shares, and storage servers, which
// keep them in slots.
//
// A survey asks the servers what they hold (survey.go), a retrieval decodes
// the best version that can be had (retrieve.go), a publication writes a new
// one over all of what was found (publish.go), and Modify does the three in
// turn until nobody else wrote in between (modify.go). Writers within one
// Client take turns.
//
// It chooses no servers by itself, keeps no connection and knows no
// directories. Start with New, Client.Create and Client.Open.
// Format: docs/formats/ssk.md.
package mutable

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// Servers hands out the servers that may be used now, in permuted order. The
// slices are the caller's to keep.
type Servers interface {
	ForUpload(si storage.Index) []storage.Peer
	ForRead(si storage.Index) []storage.Peer
}

// Config is how a node keeps mutable files.
type Config struct {
	Servers Servers
	// K of N shares suffice to read a file. 1 <= K <= N <= 255.
	K, N int
	// LeaseSecret is the node's private/secret.
	LeaseSecret redact.Secret
	Patience    Patience
	Random      io.Reader    // nil: crypto/rand
	Log         *slog.Logger // nil: none
}

// Patience says how long to wait for servers. Zero fields take the value
// named, which suits the clear network; over Tor all should be longer.
type Patience struct {
	Ask      time.Duration // bounds one question or write. 0: 15 s
	Straggle time.Duration // how long the last answers are waited for once enough are there. 0: 2 s
}

// Client creates and opens mutable files. It may be used concurrently.
type Client struct {
	c Config

	mu    sync.Mutex // guards below
	turns map[storage.Index]*turn
}

// turn lets one writer of a file at a time through.
type turn struct {
	users int // guarded by Client.mu
	token chan struct{}
}

// New checks c.
func New(c Config) (*Client, error) {
	if c.K < 1 || c.N < c.K || c.N > 255 {
		return nil, errors.New("mutable files take 1 <= needed <= total <= 255 shares")
	}
	if c.Patience.Ask == 0 {
		c.Patience.Ask = 15 * time.Second
	}
	if c.Patience.Straggle == 0 {
		c.Patience.Straggle = 2 * time.Second
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{c: c, turns: map[storage.Index]*turn{}}, nil
}

// lock waits for the turn to write si.
func (c *Client) lock(ctx context.Context, si storage.Index) (unlock func(), err error) {
	c.mu.Lock()
	t := c.turns[si]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		c.turns[si] = t
	}
	t.users++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(c.turns, si)
		}
	}
	select {
	case t.token <- struct{}{}:
		return func() { <-t.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

func (c *Client) leaseSecrets(si storage.Index, peer storage.Peer) storage.LeaseSecrets {
	master := []byte(c.c.LeaseSecret.Reveal())
	renew, cancel := tagged.LeaseRenew(master, si, peer.LeaseSeed), tagged.LeaseCancel(master, si, peer.LeaseSeed)
	return storage.LeaseSecrets{Renew: redact.New(string(renew[:])), Cancel: redact.New(string(cancel[:]))}
}

// File is one mutable file. It may be used concurrently.
type File struct {
	c     *Client
	read  caps.SSKRead
	write caps.SSK // zero unless writable
	si    storage.Index
	can   bool
	ssk   *ssk.File
}

// Open prepares to use the file that cap, an SSK or SSKRead, stands for. It
// asks nobody yet.
func (c *Client) Open(cap caps.Cap) (*File, error) {
	f := &File{c: c}
	switch v := cap.(type) {
	case caps.SSK:
		f.write, f.read, f.can = v, v.Read(), true
	case caps.SSKRead:
		f.read = v
	default:
		return nil, errors.New("the cap does not read a mutable file")
	}
	f.si = f.read.Index()
	f.ssk = ssk.NewFile(f.read.Verifier())
	return f, nil
}

// Cap is the cap the file was opened with.
func (f *File) Cap() caps.Cap {
	if f.can {
		return f.write
	}
	return f.read
}

// Writable reports whether the file was opened with its write cap.
func (f *File) Writable() bool { return f.can }
