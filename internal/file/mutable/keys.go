package mutable

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"tahoe-go/internal/format/ssk"
)

// Keys makes RSA keys ahead, so that creating a file or directory need not
// wait for one. While its stock is full it does nothing, and as long as there
// is a key left it lets a while go by after one was taken: whoever took it is
// still at work, and the processor is theirs. It may be used concurrently.
// Close it.
type Keys struct {
	c       KeysConfig
	stock   chan made
	taken   chan struct{} // full when a key was taken since fill looked
	stop    chan struct{}
	closing sync.Once
	making  sync.WaitGroup
}

type made struct {
	key *ssk.PrivateKey
	err error
}

// KeysConfig says how many keys are kept and where they come from.
type KeysConfig struct {
	Keep     int                             // 0: 6
	Rest     time.Duration                   // after a key was taken; 0: half a second
	Generate func() (*ssk.PrivateKey, error) // nil: ssk.GenerateKey
}

// NewKeys begins to fill the stock, on one processor.
func NewKeys(c KeysConfig) *Keys {
	or(&c.Keep, 6)
	or(&c.Rest, time.Second/2)
	if c.Generate == nil {
		c.Generate = func() (*ssk.PrivateKey, error) { return ssk.GenerateKey(rand.Reader) }
	}
	k := &Keys{c: c, stock: make(chan made, c.Keep), taken: make(chan struct{}, 1), stop: make(chan struct{})}
	k.making.Go(k.fill)
	return k
}

// fill makes a key when there is none, or room for one and nobody at work.
func (k *Keys) fill() {
	var rest <-chan time.Time // nil: it is over
	for {
		select {
		case <-k.taken:
			rest = time.After(k.c.Rest)
		case <-k.stop:
			return
		default:
		}
		if n := len(k.stock); n == 0 || n < cap(k.stock) && rest == nil {
			key, err := k.c.Generate()
			k.stock <- made{key, err} // nobody else adds to it
			continue
		}
		select {
		case <-k.taken:
			rest = time.After(k.c.Rest)
		case <-rest:
			rest = nil
		case <-k.stop:
			return
		}
	}
}

// Get returns a key nobody else gets, at once if there is one in stock.
func (k *Keys) Get(ctx context.Context) (*ssk.PrivateKey, error) {
	select {
	case <-k.stop: // closed: made on the spot
		return k.c.Generate()
	default:
	}
	select {
	case m := <-k.stock:
		select {
		case k.taken <- struct{}{}:
		default:
		}
		return m.key, m.err
	case <-k.stop:
		return k.c.Generate()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close stops making keys, once the one begun is done.
func (k *Keys) Close() {
	k.closing.Do(func() { close(k.stop) })
	k.making.Wait()
}
