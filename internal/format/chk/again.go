package chk

import (
	"bytes"
	"errors"
	"fmt"
)

// Again returns an Encoder that makes the file's shares once more, from its
// ciphertext: Segments reads that instead of plaintext. Its Trailer compares
// the outcome with the cap, so that no share can be finished that is not byte
// for byte what it was. workers and inFlight are those of Config.
//
// A share must have been opened. ErrUnsupported for a file of a writer who put
// more into its UEB than this package does: programs of before 2008 hashed the
// plaintext too, which is not there to be hashed.
func (f *File) Again(workers, inFlight int) (*Encoder, error) {
	k := f.get()
	if k == nil {
		return nil, errors.New("encoding again before a share was opened")
	}
	if u := k.ueb; u.Crypttext == nil || u.PlaintextRoot != nil ||
		!bytes.Equal(k.packed, k.layout.packUEB(roots{*u.Crypttext, u.CrypttextRoot, u.ShareRoot})) {
		return nil, fmt.Errorf("the file was encoded in a way of the past: %w", ErrUnsupported)
	}
	e, err := encoderOf(k.layout, Config{Size: k.layout.Size, Workers: workers, InFlight: inFlight})
	if err != nil {
		return nil, err
	}
	e.again = k
	return e, nil
}
