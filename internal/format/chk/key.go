package chk

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// ConvergentKey reads all of r, which must have size bytes, and derives the
// key that equal files get within the circle that shares secret. The segment
// size counts as Params.Round makes it. ErrSourceSize when r is shorter or
// longer.
func ConvergentKey(ctx context.Context, r io.Reader, size int64, p Params, secret []byte) (caps.Key, error) {
	if err := p.check(size); err != nil {
		return caps.Key{}, err
	}
	h := tagged.NewConvergence(p.K, p.N, p.Round(size).SegmentSize, secret)
	buf := make([]byte, min(256<<10, size+1))
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return caps.Key{}, err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		total += int64(n)
		if total > size {
			return caps.Key{}, ErrSourceSize
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return caps.Key{}, fmt.Errorf("reading source at %d: %w", total, err)
		}
	}
	if total != size {
		return caps.Key{}, ErrSourceSize
	}
	return caps.NewKey(h.Sum16()), nil
}

// Cipher encrypts and decrypts at any offset of one file: AES-128 in counter
// mode from zero. It may be used concurrently.
type Cipher struct{ block cipher.Block }

// NewCipher refuses the zero key.
func NewCipher(key caps.Key) (*Cipher, error) {
	if key.IsZero() {
		return nil, errors.New("no key")
	}
	k := key.Reveal()
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	return &Cipher{block}, nil
}

// XOR turns src, which lies at byte off of the file, from plaintext into
// ciphertext or back. dst may be src; else they must not overlap.
func (c *Cipher) XOR(dst, src []byte, off int64) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(off)/aes.BlockSize)
	stream := cipher.NewCTR(c.block, iv[:])
	if skip := off % aes.BlockSize; skip != 0 {
		var lead [aes.BlockSize]byte
		stream.XORKeyStream(lead[:skip], lead[:skip])
	}
	stream.XORKeyStream(dst, src)
}
