// Package mutable stores, reads and changes mutable files: it walks bytes
// between ssk, which knows what a version becomes, and storage servers, which
// keep its shares.
//
// A survey asks servers what they hold (survey.go, ask.go); from what it finds
// a read takes the best version (read.go), fetches proven blocks (retrieve.go)
// and decodes them (contents.go). A publish places the shares of a new version
// (publish.go) and sends each on condition that it replaces what was seen
// (send.go); part of an MDMF file is changed in place (update.go). Whoever
// finds that another has written meanwhile gets an UncoordinatedError; Modify
// begins again. Writers within one Client take turns.
//
// It chooses no servers by itself (Servers hands them out in order), keeps no
// connection and knows no directories. A version is held in memory while it is
// written: its shares, n/k times its size; while it is read: its size.
// Start with New, Client.Create and Client.Open.
package mutable

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// Servers hands out the servers that may be used now, in permuted order. The
// slices are the caller's to keep.
type Servers interface {
	ForUpload(si storage.Index) []storage.Peer // for a new file
	ForRead(si storage.Index) []storage.Peer   // all; some may be given no new shares
}

// Config is how a node stores mutable files and fetches them.
type Config struct {
	Servers Servers
	// K of N shares suffice to read a new file, 1 <= K <= N <= 255. A file
	// that exists keeps its own.
	K, N int
	// LeaseSecret is the node's private/secret, from which the lease secrets
	// for each server and file are derived.
	LeaseSecret redact.Secret
	// Keys makes the keys of new files. nil: each is made when it is needed.
	Keys     *Keys
	Patience Patience
	Random   io.Reader    // for salts and signatures; nil: crypto/rand.Reader
	Log      *slog.Logger // nil: none
}

// Patience says how long to wait for servers. Zero fields take the value
// named, which suits the clear network; over Tor all but Fresh should be
// longer.
type Patience struct {
	// Ask bounds one question to a server. 0: 15 s.
	Ask time.Duration
	// Straggle is how long the others' answers are waited for once half of
	// the servers have answered; at least. 0: 2 s.
	Straggle time.Duration
	// Stall is how long a server may take for each megabyte. 0: 60 s.
	Stall time.Duration
	// Hedge is how long an answer may be late before another server is asked
	// as well; at least. 0: 1 s.
	Hedge time.Duration
	// Fresh is how long a writer relies on what was learned of a server
	// instead of asking it again. A write is conditional on it all the same.
	// 0: 10 s.
	Fresh time.Duration
	// Outage is how long an operation that has lost its servers waits for
	// them to come back. 0: not at all.
	Outage time.Duration
}

// Client creates and opens files. It may be used concurrently. Close it.
type Client struct {
	c       Config
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // questions that nobody waits for any more
	objects objects
	slow    slow
}

// New checks c.
func New(c Config) (*Client, error) {
	if c.K < 1 || c.N < c.K || c.N > 255 {
		return nil, fmt.Errorf("shares.needed = %d, shares.total = %d: for mutable files it must hold that 1 <= needed <= total <= 255", c.K, c.N)
	}
	if c.Servers == nil {
		return nil, errors.New("mutable: Config.Servers is missing")
	}
	or(&c.Patience.Ask, 15*time.Second)
	or(&c.Patience.Straggle, 2*time.Second)
	or(&c.Patience.Stall, time.Minute)
	or(&c.Patience.Hedge, time.Second)
	or(&c.Patience.Fresh, 10*time.Second)
	or(&c.Log, slog.New(slog.DiscardHandler))
	if c.Random == nil {
		c.Random = rand.Reader
	}
	m := &Client{c: c}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Close gives up what runs in the background, questions to slow servers, and
// waits for that. Operations under way must have ended. It does not close
// Config.Keys.
func (c *Client) Close() {
	c.cancel()
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

// CreateOptions say what is made.
type CreateOptions struct {
	MDMF bool
	// Key is the file's key, from which its caps follow. nil: a fresh one.
	Key *ssk.PrivateKey
}

// Create makes a file. content is called once, with the file's cap, for what
// it is to hold; nil: nothing. The shares go to the first servers in permuted
// order that take them, in one round trip.
//
// Errors: *NotEnoughServersError when fewer than K shares found a
// server, *UncoordinatedError when the file of a given Key exists.
func (c *Client) Create(ctx context.Context, o CreateOptions, content func(caps.SSK) ([]byte, error), tr *Trace) (caps.SSK, error) {
	key := o.Key
	if key == nil {
		var err error
		if key, err = c.newKey(ctx); err != nil {
			return caps.SSK{}, err
		}
	}
	cap := key.Cap(o.MDMF)
	var data []byte
	if content != nil {
		var err error
		if data, err = content(cap); err != nil {
			return caps.SSK{}, err
		}
	}
	f := c.open(cap.Read(), &cap)
	if err := f.o.lock(ctx); err != nil {
		return caps.SSK{}, err
	}
	defer f.o.unlock()
	f.o.learnKey(key)
	peers := c.c.Servers.ForUpload(f.o.si)
	m := newView(peers, nil)
	m.alone = o.Key == nil
	what := ssk.Config{Key: key, MDMF: o.MDMF, K: c.c.K, N: c.c.N, Seqnum: 1, Random: c.c.Random}
	if err := f.publishWhole(ctx, m, what, data, tr); err != nil {
		return caps.SSK{}, err
	}
	return cap, nil
}

func (c *Client) newKey(ctx context.Context) (*ssk.PrivateKey, error) {
	if c.c.Keys != nil {
		return c.c.Keys.Get(ctx)
	}
	return ssk.GenerateKey(c.c.Random)
}

// Open prepares to use the file that cap, an SSK or SSKRead, stands for. It
// asks nobody yet.
func (c *Client) Open(cap caps.Cap) (*File, error) {
	switch cap := cap.(type) {
	case caps.SSK:
		return c.open(cap.Read(), &cap), nil
	case caps.SSKRead:
		return c.open(cap, nil), nil
	}
	return nil, fmt.Errorf("a %s cap is not one of a mutable file", cap.Kind())
}

func (c *Client) open(read caps.SSKRead, write *caps.SSK) *File {
	return &File{c: c, read: read, write: write, o: c.objects.get(read.Verifier())}
}

// File is one mutable file. It may be used concurrently: all Files of one
// storage index that a Client has opened share what was learned of servers,
// and their writers take turns.
type File struct {
	c     *Client
	read  caps.SSKRead
	write *caps.SSK // nil: may not be changed
	o     *object
}

// Cap is what the file was opened with.
func (f *File) Cap() caps.Cap {
	if f.write != nil {
		return *f.write
	}
	return f.read
}

// Writable reports whether the file's cap permits changing it.
func (f *File) Writable() bool { return f.write != nil }

// writable returns the write cap, or says that there is none.
func (f *File) writable() (caps.SSK, error) {
	if f.write == nil {
		return caps.SSK{}, ErrNotWritable
	}
	return *f.write, nil
}
