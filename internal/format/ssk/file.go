package ssk

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// Source is where a share is read from, a slot on a server. It must allow
// concurrent calls.
type Source interface {
	// ReadSpans returns one piece for each span, all of one instant if
	// possible: shorter, down to empty, where the share ends before. A span
	// may be as long as a block, MaxSegment at worst: what is too much for one
	// call of the protocol is the source's to split.
	ReadSpans(ctx context.Context, spans []ids.Span) ([][]byte, error)
}

// File is a mutable file as its readers know it, shared by all shares of all
// its versions. It may be used concurrently.
type File struct {
	fingerprint Hash

	mu       sync.Mutex // guards below
	public   *rsa.PublicKey
	versions map[Version]bool // those whose signature was checked
}

// NewFile takes what a cap says of the file: the fingerprint of its key. The
// storage index plays no part, nor whether the cap says MDMF: shares do.
func NewFile(cap caps.SSKVerifier) *File {
	return &File{fingerprint: cap.Fingerprint, versions: make(map[Version]bool)}
}

// Open reads the start of share num and proves that the holder of the write
// cap signed its version. head is what is known of the share already, from its
// first byte on; what lies beyond is asked of src, which may be nil if head is
// all there is. With HeadSize bytes nothing is asked, unless the share was
// written in a strange way; with fewer, usually once. head is kept.
//
// CorruptError when the share is not what it should be, ErrUnsupported when it
// says so, which nobody need have signed; other errors are those of src. A
// share that is overwritten while it is read may look corrupt: see whether its
// checkstring is still the same before telling anybody.
func (f *File) Open(ctx context.Context, src Source, num ids.ShareNum, head []byte) (*Share, error) {
	s := &Share{file: f, src: src, num: num, head: window{{0, head}}}
	if _, ok := s.head.get(ids.Span{Len: headerSize(head)}); !ok {
		if err := s.head.fetch(ctx, src, ids.Span{Len: HeadSize}); err != nil {
			return nil, err
		}
	}
	start, _ := s.head.get(ids.Span{Len: headerMDMF})
	if start == nil {
		start, _ = s.head.get(ids.Span{Len: headerSDMF}) // a share may be as short as that
	}
	var err error
	if s.version, s.sections, err = parseHeader(start); errors.Is(err, errHeader) {
		return nil, s.corrupt(err.Error())
	} else if err != nil {
		return nil, fmt.Errorf("share %d: %w", num, err)
	}
	if int(num) >= s.version.N {
		return nil, s.corrupt(fmt.Sprintf("there are only %d shares", s.version.N))
	}
	if f.knows(s.version) {
		return s, nil
	}
	return s, s.checkSignature(ctx, &s.head)
}

func (f *File) knows(v Version) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.versions[v]
}

// checkSignature proves the share's version by the signature it carries.
func (s *Share) checkSignature(ctx context.Context, w *window) error {
	if err := w.fetch(ctx, s.src, s.sections.publicKey, s.sections.signature); err != nil {
		return err
	}
	der, ok := w.get(s.sections.publicKey)
	if !ok || tagged.Fingerprint(der) != s.file.fingerprint {
		return s.corrupt("public key")
	}
	public, err := s.file.learnKey(der)
	if err != nil {
		return err
	}
	sig, ok := w.get(s.sections.signature)
	if !ok || !verifies(public, s.version.signed(), sig) {
		return s.corrupt("signature")
	}
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	s.file.versions[s.version] = true
	return nil
}

// learnKey parses the public key, once.
func (f *File) learnKey(der []byte) (*rsa.PublicKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.public == nil {
		k, err := parsePublic(der)
		if err != nil {
			return nil, err
		}
		f.public = k
	}
	return f.public, nil
}

// window is the pieces of a share that were read.
type window []piece

type piece struct {
	off  int64
	data []byte
}

// get returns the bytes of s, a view, if they lie in one piece.
func (w window) get(s ids.Span) ([]byte, bool) {
	for _, p := range w {
		if s.Off >= p.off && s.End() <= p.off+int64(len(p.data)) {
			return p.data[s.Off-p.off : s.End()-p.off : s.End()-p.off], true
		}
	}
	return nil, false
}

// mergeGap is the distance up to which two spans are read as one.
const mergeGap = 32 << 10

// fetch reads those of spans that the window lacks, with one call. Without a
// source it does nothing.
func (w *window) fetch(ctx context.Context, src Source, spans ...ids.Span) error {
	var missing []ids.Span
	for _, s := range spans {
		if _, have := w.get(s); !have {
			missing = append(missing, s)
		}
	}
	if len(missing) == 0 || src == nil {
		return nil
	}
	missing = ids.Merge(missing, mergeGap)
	got, err := src.ReadSpans(ctx, missing)
	if err != nil {
		return err
	}
	if len(got) != len(missing) {
		return fmt.Errorf("reading %d spans of a share gave %d", len(missing), len(got))
	}
	for i, s := range missing {
		*w = append(*w, piece{s.Off, got[i][:min(int64(len(got[i])), s.Len)]})
	}
	return nil
}
