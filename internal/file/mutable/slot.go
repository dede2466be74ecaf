package mutable

import (
	"context"
	"fmt"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// callLimit is how much of one share is asked for in one call, in bytes.
const callLimit = 16 << 20

// slot is one share on one server, as ssk reads it.
type slot struct {
	server storage.Server
	si     storage.Index
	num    storage.ShareNum
}

var _ ssk.Source = slot{}

// ReadSpans implements ssk.Source, with as few calls as the protocols allow.
func (s slot) ReadSpans(ctx context.Context, spans []storage.Span) ([][]byte, error) {
	var total int64
	for _, span := range spans {
		total += span.Len
	}
	if total <= callLimit {
		return s.read(ctx, spans)
	}
	out := make([][]byte, len(spans))
	for i, span := range spans {
		for int64(len(out[i])) < span.Len {
			part := storage.Span{Off: span.Off + int64(len(out[i])), Len: min(span.Len-int64(len(out[i])), callLimit)}
			got, err := s.read(ctx, []storage.Span{part})
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], got[0]...)
			if int64(len(got[0])) < part.Len {
				break
			}
		}
	}
	return out, nil
}

func (s slot) read(ctx context.Context, spans []storage.Span) ([][]byte, error) {
	data, err := s.server.ReadSlot(ctx, s.si, []storage.ShareNum{s.num}, spans)
	if err != nil {
		return nil, err
	}
	pieces, ok := data[s.num]
	switch {
	case !ok:
		return nil, fmt.Errorf("share %d: %w", s.num, storage.ErrNotFound)
	case len(pieces) != len(spans):
		return nil, fmt.Errorf("share %d: %d pieces came of %d asked for", s.num, len(pieces), len(spans))
	}
	return pieces, nil
}
