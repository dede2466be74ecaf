package ssk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/merkle"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/codec/zfec"
)

// Config says how one version is written. The zero value is rejected.
type Config struct {
	Key    *PrivateKey
	MDMF   bool
	K, N   int       // any K of N shares suffice; 1 <= K <= N <= 255
	Seqnum uint64    // one more than that of any version there is; the first is 1
	Random io.Reader // for salts and the signature, such as crypto/rand.Reader
}

func (c *Config) check() error {
	switch {
	case c.Key == nil:
		return errors.New("writing a version: no key")
	case c.Random == nil:
		return errors.New("writing a version: no source of randomness")
	case c.Seqnum == 0:
		return errors.New("writing a version: sequence number 0")
	}
	return nil
}

// Encoded is a version as shares. It does not change.
type Encoded struct {
	Version Version
	shares  [][]byte
}

// Share returns share num from its first byte to its last. Not to be changed.
func (e *Encoded) Share(num ids.ShareNum) []byte { return e.shares[num] }

// ShareSize is the size of each share in bytes.
func (e *Encoded) ShareSize() int64 { return int64(len(e.shares[0])) }

// Encode reads the contents from r, which must have size bytes (else
// ErrSourceSize), and makes all shares of a new version. Memory: the shares,
// n/k times the size, taken at once, so size must be known to be true; and one
// segment for each CPU. ErrUnsupported for parameters out of bounds, as an SDMF
// file above MaxSegment.
func Encode(ctx context.Context, c Config, r io.Reader, size int64) (*Encoded, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	v, err := newVersion(c.MDMF, c.K, c.N, size)
	if err != nil {
		return nil, err
	}
	v.Seqnum = c.Seqnum
	if !v.MDMF {
		if v.Salt, err = newSalt(c.Random); err != nil {
			return nil, err
		}
	}
	s, err := newSections(&v, int64(len((*c.Key.s).public)), signatureLen, int64(len((*c.Key.s).der)))
	if err != nil {
		return nil, err
	}
	e := &Encoded{shares: make([][]byte, v.N)}
	each(v.N, func(i int) { e.shares[i] = make([]byte, s.end) })
	w := &writer{Config: c, version: v, sections: s, leaves: make([][]Hash, v.N)}
	if w.code, err = zfec.New(v.K, v.N); err != nil {
		return nil, err
	}
	for i := range w.leaves {
		w.leaves[i] = make([]Hash, v.Segments())
	}
	if err := w.readAll(ctx, r, e.shares); err != nil {
		return nil, err
	}
	heads, trees, err := w.seal()
	if err != nil {
		return nil, err
	}
	private := c.Key.encrypted()
	for i, share := range e.shares {
		copy(share, heads[i])
		copy(share[s.tree.Off:], trees[i])
		copy(share[s.privateKey.Off:], private) // an MDMF head has it already
	}
	e.Version = w.version
	return e, nil
}

// writer makes the shares of one version.
type writer struct {
	Config
	version  Version // Root is last
	sections sections
	code     *zfec.Code
	leaves   [][]Hash // block hashes: a row for each share
}

// readAll encodes all segments into shares.
func (w *writer) readAll(ctx context.Context, r io.Reader, shares [][]byte) error {
	v := &w.version
	batch := int64(runtime.GOMAXPROCS(0))
	var texts [][]byte
	for first := int64(0); first < v.Segments(); first += batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		var jobs []*segment
		for seg := first; seg < min(first+batch, v.Segments()); seg++ {
			if len(texts) <= len(jobs) {
				texts = append(texts, make([]byte, v.SegmentLen(seg)))
			}
			text := texts[len(jobs)][:v.SegmentLen(seg)]
			if _, err := io.ReadFull(r, text); err != nil {
				return sourceError(err, seg*v.SegmentSize)
			}
			job := &segment{num: seg, text: text, blocks: make([][]byte, v.N)}
			for i, share := range shares {
				off := w.sections.data.Off + seg*v.blockStride()
				job.blocks[i] = share[off : off+v.saltLen()+v.BlockLen(seg)]
			}
			jobs = append(jobs, job)
		}
		if err := w.encode(jobs); err != nil {
			return err
		}
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return ErrSourceSize
	} else if err != io.EOF {
		return sourceError(err, v.Size)
	}
	return nil
}

func sourceError(err error, off int64) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrSourceSize
	}
	return fmt.Errorf("reading source at %d: %w", off, err)
}

// segment is one to be encoded.
type segment struct {
	num    int64
	text   []byte
	blocks [][]byte // to be filled: a block of each share, with its salt if MDMF
}

// encode fills the blocks of the segments and notes their hashes, on all CPUs.
func (w *writer) encode(jobs []*segment) error {
	salts := make([][saltSize]byte, len(jobs))
	for i := range jobs {
		salts[i] = w.version.Salt
		if !w.version.MDMF {
			continue
		}
		var err error
		if salts[i], err = newSalt(w.Random); err != nil {
			return err
		}
	}
	readKey := w.Key.readKey()
	errs := make([]error, len(jobs))
	each(len(jobs), func(i int) {
		errs[i] = w.encodeOne(jobs[i], tagged.DataKey(salts[i], readKey), salts[i])
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	n := w.version.N
	each(len(jobs)*n, func(i int) {
		job, num := jobs[i/n], i%n
		w.leaves[num][job.num] = tagged.Block(job.blocks[num])
	})
	return nil
}

// encodeOne encrypts a segment into the first k blocks and computes the rest.
func (w *writer) encodeOne(job *segment, key, salt [saltSize]byte) error {
	k, skip := w.version.K, w.version.saltLen()
	stream := newCTR(key)
	blocks := make([][]byte, len(job.blocks))
	rest := job.text
	for i := range blocks {
		copy(job.blocks[i][:skip], salt[:])
		blocks[i] = job.blocks[i][skip:]
		if i < k {
			n := min(len(rest), len(blocks[i]))
			stream.XORKeyStream(blocks[i][:n], rest[:n])
			clear(blocks[i][n:])
			rest = rest[n:]
		}
	}
	if err := w.code.Encode(blocks[:k], blocks[k:]); err != nil {
		return fmt.Errorf("encoding segment %d: %w", job.num, err)
	}
	return nil
}

// seal builds the trees over all leaves, signs their root, and returns for
// each share what it begins with, up to the tree (SDMF) or the data (MDMF), and
// its packed block tree.
func (w *writer) seal() (heads, trees [][]byte, err error) {
	v := &w.version
	roots := make([]Hash, v.N)
	trees = make([][]byte, v.N)
	each(v.N, func(i int) {
		t := merkle.Build(w.leaves[i])
		roots[i], trees[i] = t.Root(), packTree(t)
	})
	shares := merkle.Build(roots)
	v.Root = shares.Root()
	sig, err := w.Key.sign(w.Random, v.signed())
	if err != nil {
		return nil, nil, err
	}
	public, private := (*w.Key.s).public, w.Key.encrypted()
	heads = make([][]byte, v.N)
	for i := range heads {
		b := w.sections.appendHeader(make([]byte, 0, dataMDMF), v)
		if v.MDMF {
			b = append(b, private...)
			b = appendChain(b, shares, i)
			b = append(append(b, sig...), public...)
			b = b[:dataMDMF] // with zeros
		} else {
			b = append(append(b, public...), sig...)
			b = appendChain(b, shares, i)
		}
		heads[i] = b
	}
	return heads, trees, nil
}

func packTree(t *merkle.Tree) []byte {
	nodes := t.Nodes()
	b := make([]byte, 0, len(nodes)*hashSize)
	for i := range nodes {
		b = append(b, nodes[i][:]...)
	}
	return b
}

func newSalt(random io.Reader) (salt [saltSize]byte, err error) {
	if _, err := io.ReadFull(random, salt[:]); err != nil {
		return salt, fmt.Errorf("making a salt: %w", err)
	}
	return salt, nil
}

// each calls f for 0 to n-1, on all CPUs, and returns when all have.
func each(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	running.Wait()
}
