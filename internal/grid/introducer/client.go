package introducer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/version"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
)

// What a session with an introducer waits after an error before it begins
// anew, doubling; and for an answer.
const (
	firstRetry  = time.Minute
	longestWait = time.Hour
	callTime    = 3 * time.Minute
)

// hearOut is how long after a subscription an introducer may take to tell what
// it knows; it usually does so at once.
const hearOut = 5 * time.Second

// Sink is told of storage servers.
type Sink interface {
	// Announced is called for each new or changed server, for one at a time.
	// It must not wait and not call the Client.
	Announced(s announce.Server)
}

// ClientConfig is what a Client is made of.
type ClientConfig struct {
	Tub       *foolscap.Tub // required
	FURL      furl.FURL     // the introducer's; required
	Petname   string        // ours for it, for logs
	Isolation string        // see netx.Addr
	Nickname  string        // this node's
	Sink      Sink          // nil: do not subscribe

	// Private and Cache are where announcements are kept from run to run:
	// CacheFile in the node's private/. nil or empty: nowhere.
	Private *os.Root
	Cache   string

	// Key signs what is published. Sequence returns the next sequence number,
	// greater than any before it and on disk already. For Publish only.
	Key      announce.SigningKey
	Sequence func() (int64, error)

	// Changed is called when ClientStatus.HeardOut changes. It must not wait.
	Changed func()           // nil: nobody wants to know
	Now     func() time.Time // time.Now
	Log     *slog.Logger     // nil: none
}

// Client keeps in touch with one introducer. Its methods may be called
// concurrently.
type Client struct {
	conf ClientConfig
	obj  *foolscap.Object
	keep *foolscap.Reconnector

	hearMu sync.Mutex  // held while announcements are taken and the Sink is told; before mu; guards below
	saved  time.Time   // when the cache was written
	saving *time.Timer // writes it; nil: nothing is new

	mu         sync.Mutex // guards below
	closed     bool
	signed     *announce.Signed // what is published
	published  PublishStatus
	changed    chan struct{} // of capacity 1: there is something new to publish
	version    string
	subscribed bool
	heardOut   bool
	problem    error
	cacheErr   error
	known      map[announce.Key]*heard
	bytes      int64 // of all known in the cache
	dropped    ring
}

// NewClient tells the Sink what is in the cache, before it returns, and begins
// to connect. Close the Client before the Tub.
func NewClient(c ClientConfig) (*Client, error) {
	if c.Tub == nil || c.FURL.TubID == "" {
		return nil, errors.New("introducer: Tub and FURL are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	c.Log = c.Log.With("introducer", c.Petname)
	cl := &Client{conf: c, changed: make(chan struct{}, 1), known: map[announce.Key]*heard{}}
	cl.obj = &foolscap.Object{Iface: ifaceSubscriber, Methods: subscriberMethods, Self: cl}
	if c.Sink != nil {
		cl.loadCache()
	}
	cl.keep = c.Tub.Keep(c.FURL, foolscap.KeepOptions{Isolation: c.Isolation, Up: cl.up})
	return cl, nil
}

// Close ends the efforts, and the Sink is told no more. What is published
// stays with the introducer.
func (c *Client) Close() {
	c.keep.Stop()
	c.hearMu.Lock()
	defer c.hearMu.Unlock()
	c.mu.Lock()
	done := c.closed
	c.closed = true
	c.mu.Unlock()
	if !done {
		c.saveCache()
	}
}

// Retry connects at once, if a try is due later.
func (c *Client) Retry() { c.keep.Retry() }

// Publish announces a storage server in place of what was announced before,
// now and whenever the introducer is connected to. It returns when the
// announcement is signed; Status tells how it fared.
func (c *Client) Publish(s announce.Server) error {
	if c.conf.Sequence == nil {
		return errors.New("introducer: publishing needs Key and Sequence")
	}
	seqnum, err := c.conf.Sequence()
	if err != nil {
		return fmt.Errorf("sequence number of an announcement: %w", err)
	}
	nonce := make([]byte, 32)
	rand.Read(nonce)
	signed, err := s.Sign(c.conf.Key, seqnum, nonce)
	if err != nil {
		return fmt.Errorf("signing an announcement: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if seqnum <= c.published.Seqnum {
		if c.signed != nil && seqnum < c.published.Seqnum {
			return nil // a concurrent Publish was later
		}
		return fmt.Errorf("introducer: sequence number %d was used before", seqnum)
	}
	c.signed = &signed
	c.published = PublishStatus{Seqnum: seqnum}
	c.compareOwn()
	c.tell()
	return nil
}

// tell notes that there is something new to publish.
func (c *Client) tell() {
	select {
	case c.changed <- struct{}{}:
	default: // told already
	}
}

// up serves one connection until it ends.
func (c *Client) up(ctx context.Context, ref *foolscap.Ref) {
	defer c.down()
	subscribed := false
	for delay := firstRetry; ; delay = min(2*delay, longestWait) {
		err := c.session(ctx, ref, &subscribed)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.problem = err
		c.mu.Unlock()
		c.conf.Log.Warn("the introducer is connected but does not do what is asked", "err", err, "retry_in", delay)
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-c.changed: // what is new may fare better
			c.tell()
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// session asks for the version, publishes and subscribes, and then publishes
// what is new. It returns with an error, or when the connection has ended.
func (c *Client) session(ctx context.Context, ref *foolscap.Ref, subscribed *bool) error {
	if err := c.askVersion(ctx, ref); err != nil {
		return fmt.Errorf("asking for its version: %w", err)
	}
	refused := c.publish(ctx, ref) // which is no reason not to listen
	if c.conf.Sink != nil && !*subscribed {
		info := banana.Dict{
			{Key: []byte("app-versions"), Value: banana.List{}},
			{Key: []byte("my-version"), Value: version.Application},
			{Key: []byte("nickname"), Value: c.conf.Nickname},
			{Key: []byte("oldest-supported"), Value: announce.OldestSupported},
			{Key: []byte("version"), Value: 0},
		}
		if err := call(ctx, ref, "subscribe_v2", c.obj, []byte(announce.Storage), info); err != nil {
			return fmt.Errorf("subscribing: %w", err)
		}
		*subscribed = true
	}
	c.mu.Lock()
	c.problem, c.subscribed = nil, *subscribed
	c.mu.Unlock()
	if refused != nil {
		return fmt.Errorf("publishing: %w", refused)
	}
	c.conf.Log.Info("connected to the introducer", "subscribed", *subscribed)
	daily := time.NewTicker(24 * time.Hour)
	defer daily.Stop()
	out := time.NewTimer(hearOut)
	defer out.Stop()
	for {
		select {
		case <-out.C:
			c.setHeardOut(*subscribed)
		case <-daily.C: // so that after a crash the cache's times are true
			c.hearMu.Lock()
			c.saveCache()
			c.hearMu.Unlock()
		case <-c.changed:
			if err := c.publish(ctx, ref); err != nil {
				return fmt.Errorf("publishing: %w", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Client) askVersion(ctx context.Context, ref *foolscap.Ref) error {
	short, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	v, err := ref.Call(short, "get_version", versionSchema)
	if err != nil {
		return err
	}
	if _, ok := lookup(v.(banana.Dict), protocolV2); !ok {
		return errors.New("it does not speak version 2 of the protocol")
	}
	application, _ := lookup(v.(banana.Dict), "application-version")
	c.mu.Lock()
	c.version = text(application)
	c.mu.Unlock()
	return nil
}

// publish sends what is to be published, if there is anything.
func (c *Client) publish(ctx context.Context, ref *foolscap.Ref) error {
	select {
	case <-c.changed: // what is new goes out now
	default:
	}
	c.mu.Lock()
	signed, seqnum := c.signed, c.published.Seqnum
	c.mu.Unlock()
	if signed == nil {
		return nil
	}
	err := call(ctx, ref, "publish_v2", toWire(*signed), &foolscap.Object{})
	c.mu.Lock()
	if c.published.Seqnum == seqnum {
		c.published.Err = err
		if err == nil {
			c.published.Sent = c.conf.Now()
		}
	}
	c.mu.Unlock()
	if err == nil {
		c.conf.Log.Info("announced this server", "seqnum", seqnum)
	}
	return err
}

// call calls a method that returns nothing.
func call(ctx context.Context, ref *foolscap.Ref, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := ref.Call(ctx, method, banana.None(), args...)
	return err
}

// setHeardOut notes whether the introducer has had time to tell all it knows.
func (c *Client) setHeardOut(is bool) {
	c.mu.Lock()
	was := c.heardOut
	c.heardOut = is
	c.mu.Unlock()
	if was != is {
		c.conf.Changed()
	}
}

// down notes that the connection has ended.
func (c *Client) down() {
	c.setHeardOut(false)
	c.hearMu.Lock()
	defer c.hearMu.Unlock()
	c.mu.Lock()
	c.subscribed, c.problem = false, nil
	for _, h := range c.known {
		if h.live {
			h.at, h.live = c.conf.Now(), false
		}
	}
	c.mu.Unlock()
	c.saveCache()
}
