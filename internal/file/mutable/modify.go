package mutable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// tries is how often Modify begins again after somebody else wrote.
const tries = 8

// Modify replaces the contents by what f makes of them. When somebody else
// writes in between it begins again, after a random while, with theirs; so f
// may be called more than once. It publishes nothing when f returns what it
// was given.
func (f *File) Modify(ctx context.Context, edit func(old []byte) ([]byte, error), tr *Trace) error {
	wait := 200 * time.Millisecond
	for i := 0; ; i++ {
		err := f.modify(ctx, edit, tr)
		if _, ok := errors.AsType[*UncoordinatedError](err); !ok || i == tries-1 {
			return err
		}
		t := time.NewTimer(rand.N(2 * wait))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		wait *= 2
	}
}

var errSame = errors.New("nothing changes")

func (f *File) modify(ctx context.Context, edit func(old []byte) ([]byte, error), tr *Trace) error {
	err := f.change(ctx, func(ctx context.Context, s *survey) ([]byte, error) {
		v, _ := s.best()
		var old bytes.Buffer
		if err := f.retrieve(ctx, s, v, &old, 0, v.Size); err != nil {
			return nil, err
		}
		data, err := edit(bytes.Clone(old.Bytes()))
		if err == nil && bytes.Equal(data, old.Bytes()) {
			err = errSame
		}
		return data, err
	}, tr)
	if errors.Is(err, errSame) {
		return nil
	}
	return err
}

// WriteAt puts p at off of the contents, which grow where needed; what lies
// between the old end and off becomes zeros.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64, tr *Trace) error {
	if off < 0 {
		return fmt.Errorf("writing at %d: negative", off)
	}
	return f.Modify(ctx, func(old []byte) ([]byte, error) {
		if need := off + int64(len(p)); int64(len(old)) < need {
			old = append(old, make([]byte, need-int64(len(old)))...)
		}
		copy(old[off:], p)
		return old, nil
	}, tr)
}
