package chk

import (
	"errors"
	"fmt"

	"tahoe-go/internal/codec/ids"
)

// ErrUnsupported says that a file's parameters are beyond what this program
// reads or writes, though nothing is known to be damaged. Errors of bad k, n,
// size and segment size wrap it.
var ErrUnsupported = errors.New("unsupported file parameters")

// ErrSourceSize says that the plaintext was longer or shorter than announced.
var ErrSourceSize = errors.New("source changed its size")

// ErrBadEncoding says that whoever made the cap encoded the file so that it
// contradicts itself. No share is to blame and no other choice of shares can
// help.
var ErrBadEncoding = errors.New("the file was encoded wrongly")

// CorruptError says that a share's bytes are not those its file was written
// with: damaged, cut short, of another file, or forged. The share should be
// reported once and another taken in its place.
type CorruptError struct {
	Share ids.ShareNum
	What  string // the part: "header", "UEB", "block 3", …
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("share %d is corrupt: %s", e.Share, e.What)
}

// SegmentError says that proven blocks decode to a segment the cap does not
// stand for. It is an ErrBadEncoding.
type SegmentError struct{ Segment int64 }

func (e *SegmentError) Error() string {
	return fmt.Sprintf("segment %d does not match the file's hash tree", e.Segment)
}

func (e *SegmentError) Unwrap() error { return ErrBadEncoding }
