package immutable

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// Result is what an upload did.
type Result struct {
	Cap      caps.Cap // CHK or LIT
	Size     int64    // of the plaintext in bytes
	Happy    int      // servers of happiness reached
	Existing int      // shares found in place
	Pushed   int      // shares sent
	Servers  []ServerReport
	Took     Timings
}

// Timings are the stages of an upload.
type Timings struct {
	Key, Place, Push time.Duration
}

// Source is what is uploaded. It is read from where it stands to derive the
// key, and from its start to encode.
type Source struct {
	io.ReadSeeker
	Size int64 // in bytes, exact
	// Convergence is the secret within whose circle equal files get equal
	// caps. Zero: a random key, one pass less, no two caps alike.
	Convergence redact.Secret
	// Key is what a Keyer has derived from the same bytes and Convergence;
	// zero: not known yet. It spares a pass.
	Key caps.Key
}

// Upload stores a file. It returns once shares are acknowledged on enough
// servers, or with *UnhappyError, ErrNoServers, chk.ErrSourceSize, or what
// reading the source said. Memory is bounded by segments in flight, whatever
// the size.
//
// When the way to the servers breaks it goes on where it stopped once they are
// back, or, if that took too long or they have forgotten what they were sent,
// begins again with what is left to do, for as long as Patience.Outage allows.
//
// Uploads of equal files take turns.
func (c *Client) Upload(ctx context.Context, src Source, tr *Trace) (*Result, error) {
	if src.Size <= caps.MaxLIT {
		return literal(src)
	}
	start := time.Now()
	key, err := c.key(ctx, src)
	if err != nil {
		return nil, err
	}
	u := &upload{src: src, key: key, sending: sending{
		Client: c, trace: tr, si: tagged.StorageIndex(key.Reveal()), k: c.c.K, happy: c.c.Happy, n: c.c.N,
	}}
	keyed := time.Now()
	done, err := c.turns.take(ctx, u.si)
	if err != nil {
		return nil, err
	}
	defer done()
	res, err := u.outlast(ctx)
	if err != nil {
		return nil, err
	}
	res.Took.Key = keyed.Sub(start)
	return res, nil
}

// upload is one file on its way.
type upload struct {
	src Source
	key caps.Key
	sending
}

// sending is what finds homes for shares and brings them there.
type sending struct {
	*Client
	trace       *Trace
	si          storage.Index
	k, happy, n int          // happy 0: any server that takes a share will do
	enc         *chk.Encoder // of the attempt under way
	took        atomic.Bool  // servers took some bytes since this was last looked at
	giveUp      func()       // ends the source when nobody is left to send to; nil: nothing to do
	aborts
}

// attempt places and pushes the file once, from its start.
func (u *upload) attempt(ctx context.Context) (*Result, error) {
	var err error
	u.enc, err = chk.NewEncoder(chk.Config{Key: u.key, Size: u.src.Size, Params: u.params()})
	if err != nil {
		return nil, err
	}
	if _, err := u.src.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewinding source: %w", err)
	}
	start := time.Now()
	p, err := u.place(ctx)
	if err != nil {
		return nil, err
	}
	placed := time.Now()
	trailer, err := u.push(ctx, p, u.src)
	if err != nil {
		return nil, err
	}
	return &Result{
		Cap: trailer.Cap, Size: u.src.Size, Happy: p.happiness(), Existing: p.existing, Pushed: len(p.writers), Servers: p.reports(),
		Took: Timings{Place: placed.Sub(start), Push: time.Since(placed)},
	}, nil
}

func (c *Client) params() chk.Params {
	return chk.Params{K: c.c.K, N: c.c.N, SegmentSize: c.c.SegmentSize}
}

// literal makes a cap that is the file.
func literal(src Source) (*Result, error) {
	data, err := io.ReadAll(io.LimitReader(src, caps.MaxLIT+1))
	if err != nil {
		return nil, fmt.Errorf("reading source: %w", err)
	}
	if int64(len(data)) != src.Size {
		return nil, chk.ErrSourceSize
	}
	return &Result{Cap: caps.NewLIT(data), Size: src.Size}, nil
}

// key derives or draws the file's key.
func (c *Client) key(ctx context.Context, src Source) (caps.Key, error) {
	if !src.Key.IsZero() {
		return src.Key, nil
	}
	if src.Convergence.IsZero() {
		var key [16]byte
		rand.Read(key[:])
		return caps.NewKey(key), nil
	}
	return chk.ConvergentKey(ctx, src, src.Size, c.params(), []byte(src.Convergence.Reveal()))
}

// Keyer derives a convergent key while the bytes of a file pass by for the
// first time, so that Upload need not read them once more. Write all of them,
// in order, then take Key.
type Keyer struct {
	hash    *tagged.Hasher
	segment int64
	size    int64
}

// NewKeyer returns a Keyer for files within the circle of convergence.
func (c *Client) NewKeyer(convergence redact.Secret) *Keyer {
	segment := c.params().Round(math.MaxInt64).SegmentSize
	return &Keyer{segment: segment, hash: tagged.NewConvergence(c.c.K, c.c.N, segment, []byte(convergence.Reveal()))}
}

// Write takes the next bytes. It never fails.
func (k *Keyer) Write(p []byte) (int, error) {
	k.size += int64(len(p))
	return k.hash.Write(p)
}

// Key returns the key; the zero Key for a file of less than a segment, whose
// key depends on its size, which was not known when the hashing began.
func (k *Keyer) Key() caps.Key {
	if k.size < k.segment {
		return caps.Key{}
	}
	return caps.NewKey(k.hash.Sum16())
}
