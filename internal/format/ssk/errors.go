package ssk

import (
	"errors"
	"fmt"

	"tahoe-go/internal/codec/ids"
)

// ErrUnsupported says that a file's parameters are beyond what this program
// reads or writes, though nothing is known to be damaged.
var ErrUnsupported = errors.New("unsupported file parameters")

// ErrSourceSize says that the contents were longer or shorter than announced.
var ErrSourceSize = errors.New("source changed its size")

// ErrBadEncoding says that whoever has the write cap encoded this version so
// that it contradicts itself. No share is to blame.
var ErrBadEncoding = errors.New("the file was encoded wrongly")

// CorruptError says that a share's bytes are not what the holder of the write
// cap wrote: damaged, cut short, of another file, or forged. The share should
// be reported once and another taken in its place.
type CorruptError struct {
	Share ids.ShareNum
	What  string // the part: "header", "signature", "block 3", …
}

func (e *CorruptError) Error() string { return fmt.Sprintf("share %d is corrupt: %s", e.Share, e.What) }
