package ssk

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"tahoe-go/internal/codec/ids"
)

// nowhere is a source that must not be asked.
type nowhere struct{ t *testing.T }

func (n nowhere) ReadSpans(_ context.Context, spans []ids.Span) ([][]byte, error) {
	n.t.Errorf("it was asked for %v", spans)
	return nil, errors.New("nothing is here")
}

// A size that is rightly signed and cannot be true is not verified.
func TestVerifyOfAClaim(t *testing.T) {
	key := testKey(t)
	v, err := newVersion(true, 1, 1, MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	v.Seqnum = 1
	s, err := newSections(&v, int64(len((*key.s).public)), signatureLen, int64(len((*key.s).der)))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := key.sign(rand.Reader, v.signed())
	if err != nil {
		t.Fatal(err)
	}
	head := s.appendHeader(nil, &v)
	head = append(append(append(head, key.encrypted()...), sig...), (*key.s).public...) // there is no chain to one share
	head = append(head, make([]byte, HeadSize-len(head))...)
	share, err := NewFile(key.Cap(true).Read().Verifier()).Open(t.Context(), nowhere{t}, 0, head)
	if err != nil {
		t.Fatal(err)
	}
	if err := share.Verify(t.Context()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Verify of a claim of %d segments: %v", v.Segments(), err)
	}
}
