package mutable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// MaxWrite is the most bytes that one write may make of a file's contents, or
// may add to them: they are held in memory, and n/k times as much. Read and
// Modify return no more either.
const MaxWrite = 1 << 30

// WriteAt puts p at off, as far past the end as need be: a gap is filled with
// zeros. Of an MDMF file only the segments that change are sent, if all of its
// shares are in place; otherwise the file is read and written whole. When
// somebody else has written meanwhile it begins again. Errors as those of
// Modify.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64, tr *Trace) error {
	if _, err := f.writable(); err != nil {
		return err
	}
	if off < 0 || off > ssk.MaxSize-int64(len(p)) {
		return fmt.Errorf("writing %d bytes at %d: out of range", len(p), off)
	}
	if err := f.o.lock(ctx); err != nil {
		return err
	}
	defer f.o.unlock()
	edit := func(old []byte) ([]byte, error) { return splice(old, p, off), nil }
	return f.retry(ctx, edit, func(out *outage) error { return f.writeAt(ctx, p, off, out, tr) }, tr)
}

func (f *File) writeAt(ctx context.Context, p []byte, off int64, out *outage, tr *Trace) error {
	s, err := f.surveyToWrite(ctx, out, tr)
	if err != nil || len(p) == 0 {
		return err
	}
	v, err := s.choose(tr)
	if err != nil {
		return err
	}
	if newest := f.o.newestSeen(); v.Compare(newest) < 0 {
		return &NewerError{v, newest}
	}
	u := &update{survey: s, v: v, p: p, off: off, size: max(v.Size, off+int64(len(p)))}
	if u.size > max(v.Size, off)+MaxWrite || u.size-v.Size > MaxWrite {
		return fmt.Errorf("writing %d bytes at %d of a file of %d: %w", len(p), off, v.Size, ErrTooLarge)
	}
	if u.fits() {
		err := u.run(ctx)
		if !errors.Is(err, errNotInPlace) {
			return err
		}
	}
	if u.size > MaxWrite {
		return fmt.Errorf("the file of %d bytes has shares missing or of other versions, and is too large to be written whole: %w", v.Size, ErrTooLarge)
	}
	return s.modify(ctx, func(old []byte) ([]byte, error) { return splice(old, p, off), nil })
}

// splice returns a copy of old with p at off.
func splice(old, p []byte, off int64) []byte {
	text := make([]byte, max(int64(len(old)), off+int64(len(p))))
	copy(text, old)
	copy(text[off:], p)
	return text
}

// errNotInPlace means that the shares there are do not permit an update.
var errNotInPlace = errors.New("the file has to be written whole")

// update changes part of an MDMF file in the shares that are there.
type update struct {
	*survey
	v    ssk.Version
	p    []byte
	off  int64
	size int64 // of the contents afterwards
}

// fits reports whether all shares are there, of this version and nothing
// else, and most segments stay as they are.
func (u *update) fits() bool {
	if !u.v.MDMF || u.v.Segments() < 2 {
		return false
	}
	after := u.v
	after.Size = u.size
	first, last := after.SegmentsOf(min(u.off, u.v.Size), u.off+int64(len(u.p))-min(u.off, u.v.Size))
	if 2*(last-first+1) > after.Segments() {
		return false
	}
	u.survey.mu.Lock()
	defer u.survey.mu.Unlock()
	nums := map[storage.ShareNum]bool{}
	for _, a := range u.got {
		for _, h := range a.shares {
			if h.share == nil || h.version != u.v || !h.share.InPlace() {
				return false
			}
			nums[h.num] = true
		}
	}
	return len(nums) == u.v.N
}

// run reads the hashes of all blocks and the segments that change in part,
// at once, and publishes the patches. errNotInPlace when some could not be
// had.
func (u *update) run(ctx context.Context) error {
	f := u.f
	key, err := f.key(ctx, u.tr)
	if err != nil {
		return err
	}
	r, err := u.retrieve(u.v)
	if err != nil {
		return err
	}
	reading, cancel := context.WithCancel(ctx)
	defer r.wg.Wait()
	defer cancel()
	leaves := make(chan map[storage.ShareNum][]ssk.Hash, 1)
	r.wg.Go(func() { leaves <- u.leaves(reading) })
	old, err := u.olds(reading, r)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotInPlace, err)
	}
	seqnum := max(u.v.Seqnum, f.o.newestSeen().Seqnum) + 1
	what := ssk.Config{Key: key, MDMF: true, K: u.v.K, N: u.v.N, Seqnum: seqnum, Random: f.c.c.Random}
	up, err := ssk.NewUpdate(what, u.v, <-leaves, u.size)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", errNotInPlace, err)
	}
	after := up.Version()
	for _, seg := range u.segments(up) {
		text := make([]byte, after.SegmentLen(seg))
		copy(text, old[seg])
		at := seg * after.SegmentSize
		if from := max(u.off, at); from < min(u.off+int64(len(u.p)), at+int64(len(text))) {
			copy(text[from-at:], u.p[from-u.off:])
		}
		if err := up.Put(seg, text); err != nil {
			return err
		}
	}
	return u.publish(ctx, up)
}

// segments lists those to be put: whichever p touches, and those whose length
// changes.
func (u *update) segments(up *ssk.Update) []int64 {
	list := up.Must()
	after := up.Version()
	first, last := after.SegmentsOf(u.off, int64(len(u.p)))
	for seg := first; seg <= last; seg++ {
		list = append(list, seg)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// olds reads the segments of which something stays: those at both ends of p,
// and the last if it grows.
func (u *update) olds(ctx context.Context, r *retrieval) (map[int64][]byte, error) {
	var want []int64
	end := u.off + int64(len(u.p))
	for _, at := range []int64{u.off, end - 1, u.v.Size - 1} {
		seg := at / u.v.SegmentSize
		from, to := seg*u.v.SegmentSize, min((seg+1)*u.v.SegmentSize, u.v.Size)
		covered := u.off <= from && to <= end
		touched := u.off < to && from < end || at == u.v.Size-1 && u.size > u.v.Size
		if seg < u.v.Segments() && touched && !covered && !slices.Contains(want, seg) {
			want = append(want, seg)
		}
	}
	texts, errs := make([][]byte, len(want)), make([]error, len(want))
	var reading sync.WaitGroup
	for i, seg := range want {
		reading.Go(func() {
			got, err := r.fetch(ctx, seg, 1)
			if err == nil {
				var list [][]byte
				if list, err = r.decode(seg, 1, got, func(int64) []byte { return nil }); err == nil {
					texts[i] = list[0]
				}
			}
			errs[i] = err
		})
	}
	reading.Wait()
	out := map[int64][]byte{}
	for i, seg := range want {
		out[seg] = texts[i]
	}
	return out, errors.Join(errs...)
}

// leaves reads the block hashes of a share of each number, all at once. Those
// that could not be had are missing.
func (u *update) leaves(ctx context.Context) map[storage.ShareNum][]ssk.Hash {
	u.survey.mu.Lock()
	list := u.holdings(u.v)
	u.survey.mu.Unlock()
	slices.SortStableFunc(list, func(a, b *holding) int { return int(a.num) - int(b.num) })
	list = slices.CompactFunc(list, func(a, b *holding) bool { return a.num == b.num })
	var mu sync.Mutex // guards out
	out := map[storage.ShareNum][]ssk.Hash{}
	var reading sync.WaitGroup
	for _, h := range list {
		reading.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, u.f.c.c.Patience.Ask)
			defer cancel()
			hashes, err := h.share.Leaves(ctx)
			if err != nil {
				u.tr.dropped(h.peer.ID, h.num, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[h.num] = hashes
		})
	}
	reading.Wait()
	return out
}

// publish sends every share its patches.
func (u *update) publish(ctx context.Context, up *ssk.Update) error {
	v, patches, length, err := up.Finish()
	if err != nil {
		return err
	}
	p := &publication{f: u.f, m: u.view(), tr: u.tr, version: v, length: length, inPlace: true, check: map[storage.ShareNum][]byte{}}
	writes := map[storage.ShareNum][]storage.SlotPatch{}
	for i, list := range patches {
		num := storage.ShareNum(i)
		for _, patch := range list {
			if patch.Off == 0 {
				p.check[num] = bytes.Clone(patch.Data[:ssk.MaxCheckstring])
			}
			writes[num] = append(writes[num], storage.SlotPatch{Off: patch.Off, Data: patch.Data})
		}
	}
	p.write = func(num storage.ShareNum) []storage.SlotPatch { return writes[num] }
	return p.run(ctx)
}
