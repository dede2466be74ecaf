package mutable

import (
	"context"
	"crypto/rand"
	"sync"

	"tahoe-go/internal/format/ssk"
)

// Keys makes RSA keys ahead, so that creating a file or directory need not
// wait for one. While its stock is full it does nothing. It may be used
// concurrently. Close it.
type Keys struct {
	generate func() (*ssk.PrivateKey, error)
	stock    chan made
	stop     chan struct{}
	closing  sync.Once
	making   sync.WaitGroup
}

type made struct {
	key *ssk.PrivateKey
	err error
}

// KeysConfig says how many keys are kept and where they come from.
type KeysConfig struct {
	Keep     int                             // 0: 2
	Generate func() (*ssk.PrivateKey, error) // nil: ssk.GenerateKey
}

// NewKeys begins to fill the stock, on one processor.
func NewKeys(c KeysConfig) *Keys {
	or(&c.Keep, 2)
	if c.Generate == nil {
		c.Generate = func() (*ssk.PrivateKey, error) { return ssk.GenerateKey(rand.Reader) }
	}
	k := &Keys{generate: c.Generate, stock: make(chan made, c.Keep-1), stop: make(chan struct{})}
	k.making.Go(k.fill)
	return k
}

// fill makes a key and waits until it is taken or there is room for it.
func (k *Keys) fill() {
	for {
		key, err := k.generate()
		select {
		case k.stock <- made{key, err}:
		case <-k.stop:
			return
		}
	}
}

// Get returns a key nobody else gets, at once if there is one in stock.
func (k *Keys) Get(ctx context.Context) (*ssk.PrivateKey, error) {
	select {
	case <-k.stop: // closed: made on the spot
		return k.generate()
	default:
	}
	select {
	case m := <-k.stock:
		return m.key, m.err
	case <-k.stop:
		return k.generate()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close stops making keys, once the one begun is done.
func (k *Keys) Close() {
	k.closing.Do(func() { close(k.stop) })
	k.making.Wait()
}
