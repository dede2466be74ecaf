// Package spool holds bytes that come once and are read more than once: in
// memory up to a limit, beyond it in an encrypted temporary file.
//
// The file is AES-256-CTR under a key that lives only in the Spool, and its
// name is removed as soon as it is open where the system allows that (not on
// Windows, where Close removes it). What a crash leaves behind is noise. There
// is no integrity check: whoever can write to the open file can flip bits.
// Start with Fill.
package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// DefaultMemory is how many bytes stay in memory if Config.Memory is zero.
const DefaultMemory = 1 << 20

// Errors to branch on.
var (
	ErrTooLarge = errors.New("more bytes than allowed")
	ErrClosed   = errors.New("spool is closed")
)

// Config says where bytes are kept. The zero value is useful.
type Config struct {
	Dir    string // folder of temporary files; "" means the system's
	Memory int64  // bytes kept in memory before a file is made; 0 means DefaultMemory, negative none
	Max    int64  // bytes accepted in all; 0 means no limit
	Expect int64  // bytes that will come, if known: room for them in memory is made at once
}

// Spool is written first and read later. Write, Read and Seek are for one
// goroutine at a time; ReadAt may be called concurrently once nothing is
// written any more. The caller must Close it.
type Spool struct {
	cfg    Config
	mem    []byte       // everything, until there is a file
	file   *os.File     // nil while in memory
	block  cipher.Block // nil while in memory
	out    cipher.Stream
	buf    []byte // ciphertext on its way to the file
	name   string // of a file that could not be removed while open
	size   int64
	pos    int64 // of Read
	err    error // of a failed write: the spool is not whole
	closed bool
}

var (
	_ io.ReadSeeker = (*Spool)(nil)
	_ io.ReaderAt   = (*Spool)(nil)
	_ io.Writer     = (*Spool)(nil)
	_ io.Closer     = (*Spool)(nil)
)

// chunk is how much is encrypted and written at once, in bytes.
const chunk = 64 << 10

// New returns an empty spool.
func New(cfg Config) *Spool {
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	s := &Spool{cfg: cfg}
	if cfg.Expect > 0 && cfg.Expect <= cfg.Memory {
		s.mem = make([]byte, 0, cfg.Expect)
	}
	return s
}

// Fill reads r to its end into a new spool, which stands at its start. On an
// error (ErrTooLarge among others) nothing is left behind.
func Fill(r io.Reader, cfg Config) (*Spool, error) {
	s := New(cfg)
	if _, err := io.Copy(s, r); err != nil {
		s.Close()
		return nil, fmt.Errorf("spooling: %w", err)
	}
	return s, nil
}

// Size is the number of bytes written.
func (s *Spool) Size() int64 { return s.size }

// InMemory reports whether no file is in use.
func (s *Spool) InMemory() bool { return s.file == nil }

// Bytes returns everything, which is not to be changed and is good until
// Close, if it is in memory.
func (s *Spool) Bytes() (all []byte, ok bool) { return s.mem, s.file == nil && s.usable() == nil }

// Write appends p. After an error the spool takes and gives nothing more.
func (s *Spool) Write(p []byte) (int, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	if s.cfg.Max > 0 && int64(len(p)) > s.cfg.Max-s.size {
		s.err = ErrTooLarge
		return 0, s.err
	}
	if s.file == nil && s.size+int64(len(p)) > s.cfg.Memory {
		if s.err = s.toFile(); s.err != nil {
			return 0, s.err
		}
	}
	if s.file == nil {
		s.mem = append(s.mem, p...)
	} else if s.err = s.encrypt(p); s.err != nil {
		return 0, s.err
	}
	s.size += int64(len(p))
	return len(p), nil
}

// toFile makes the file and moves what is in memory into it.
func (s *Spool) toFile() error {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.cfg.Dir, ".tmp-spool-") // mode 0600
	if err != nil {
		return fmt.Errorf("making a spool file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		s.name = f.Name()
	}
	s.file, s.block, s.out = f, block, ctrAt(block, 0)
	s.buf = make([]byte, chunk)
	err = s.encrypt(s.mem)
	s.mem = nil
	return err
}

// encrypt appends p to the file.
func (s *Spool) encrypt(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), len(s.buf))
		s.out.XORKeyStream(s.buf[:n], p[:n])
		if _, err := s.file.Write(s.buf[:n]); err != nil {
			return fmt.Errorf("writing a spool file: %w", err)
		}
		p = p[n:]
	}
	return nil
}

// ReadAt reads len(p) bytes at offset off, or fewer with io.EOF at the end.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, errors.New("spool: negative offset")
	}
	if off >= s.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > s.size-off
	if short {
		p = p[:s.size-off]
	}
	if s.file == nil {
		copy(p, s.mem[off:])
	} else {
		if n, err := s.file.ReadAt(p, off); n < len(p) {
			clear(p) // ciphertext
			return 0, fmt.Errorf("reading a spool file: %w", noEOF(err))
		}
		ctrAt(s.block, off).XORKeyStream(p, p)
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// Read reads from the position that Seek sets, at first the start.
func (s *Spool) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, s.usable()
	}
	n, err := s.ReadAt(p, s.pos)
	s.pos += int64(n)
	if n > 0 {
		err = nil // the end shows on the next call
	}
	return n, err
}

// Seek sets the position of Read. It does not touch where Write appends.
func (s *Spool) Seek(offset int64, whence int) (int64, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	default:
		return 0, errors.New("spool: bad whence")
	}
	if offset < 0 {
		return 0, errors.New("spool: seek before the start")
	}
	s.pos = offset
	return offset, nil
}

// Close frees memory and disk. The second call does nothing.
func (s *Spool) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.mem, s.buf, s.block, s.out = nil, nil, nil, nil
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.name != "" {
		err = errors.Join(err, os.Remove(s.name))
	}
	return err
}

func (s *Spool) usable() error {
	if s.closed {
		return ErrClosed
	}
	return s.err
}

// ctrAt is the key stream from byte off on. The key is used for this one file
// and nothing is written twice, so the counter starts from zero.
func ctrAt(block cipher.Block, off int64) cipher.Stream {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(off)/aes.BlockSize)
	stream := cipher.NewCTR(block, iv[:])
	if skip := off % aes.BlockSize; skip > 0 {
		var b [aes.BlockSize]byte
		stream.XORKeyStream(b[:skip], b[:skip])
	}
	return stream
}

func noEOF(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
