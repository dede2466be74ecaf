package ssk

import (
	"errors"
	"fmt"
	"slices"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/zfec"
)

// Update changes some segments of an MDMF file and leaves the rest of its
// shares where it is: NewUpdate, Put for each changed segment, Finish. One
// goroutine at a time. Memory: the changed blocks of all shares, and 32 bytes
// for each segment and share.
type Update struct {
	w        *writer
	old      Version
	put      map[int64]bool
	patches  [][]Patch
	finished bool
}

// Patch is bytes to be written at Off of a share.
type Patch struct {
	Off  int64
	Data []byte
}

// NewUpdate prepares a version that differs from old in size and in segments
// to be Put. c has the next sequence number; its K, N and MDMF must be those of
// old. leaves has what [Share.Leaves] returned for a share of each number, all
// of version old: where a number is missing, write the file whole with Encode.
// It is not changed.
func NewUpdate(c Config, old Version, leaves map[ids.ShareNum][]Hash, size int64) (*Update, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if !old.MDMF || !c.MDMF || c.K != old.K || c.N != old.N || c.Seqnum <= old.Seqnum {
		return nil, errors.New("updating a version: the new one is of another kind, or not newer")
	}
	v := old
	v.Root, v.Seqnum, v.Size = Hash{}, c.Seqnum, size
	if err := v.check(); err != nil {
		return nil, err
	}
	s, err := newSections(&v, int64(len((*c.Key.s).public)), signatureLen, int64(len((*c.Key.s).der)))
	if err != nil {
		return nil, err
	}
	u := &Update{
		w:   &writer{Config: c, version: v, sections: s, leaves: make([][]Hash, v.N)},
		old: old, put: make(map[int64]bool), patches: make([][]Patch, v.N),
	}
	if u.w.code, err = zfec.New(v.K, v.N); err != nil {
		return nil, err
	}
	for i := range u.w.leaves {
		have := leaves[ids.ShareNum(i)]
		if int64(len(have)) != old.Segments() {
			return nil, fmt.Errorf("updating a version: %d block hashes of share %d, want %d", len(have), i, old.Segments())
		}
		u.w.leaves[i] = make([]Hash, v.Segments())
		copy(u.w.leaves[i], have)
	}
	return u, nil
}

// Must lists the segments that have to be Put whatever else changes: new ones,
// and the old or new last one if its length changes.
func (u *Update) Must() []int64 {
	var list []int64
	v := &u.w.version
	last := u.old.Segments() - 1
	for _, seg := range []int64{last, v.Segments() - 1} {
		if seg >= 0 && seg < v.Segments() && seg <= last && v.SegmentLen(seg) != u.old.SegmentLen(seg) && !slices.Contains(list, seg) {
			list = append(list, seg)
		}
	}
	for seg := max(last+1, 0); seg < v.Segments(); seg++ {
		list = append(list, seg)
	}
	return list
}

// Version is that to be written, whose Root is not known before Finish.
func (u *Update) Version() Version { return u.w.version }

// Put gives segment seg new contents, of the length it has in Version. text is
// not kept.
func (u *Update) Put(seg int64, text []byte) error {
	v := &u.w.version
	switch {
	case u.finished:
		return errors.New("segment put after the end of an update")
	case seg < 0 || seg >= v.Segments() || u.put[seg]:
		return fmt.Errorf("putting segment %d of %d, or again", seg, v.Segments())
	case int64(len(text)) != v.SegmentLen(seg):
		return fmt.Errorf("segment %d of %d bytes, want %d", seg, len(text), v.SegmentLen(seg))
	}
	job := &segment{num: seg, text: text, blocks: make([][]byte, v.N)}
	for i := range job.blocks {
		job.blocks[i] = make([]byte, v.saltLen()+v.BlockLen(seg))
		off := u.w.sections.data.Off + seg*v.blockStride()
		u.patches[i] = append(u.patches[i], Patch{off, job.blocks[i]})
	}
	u.put[seg] = true
	return u.w.encode([]*segment{job})
}

// Finish signs the new version and returns for each share the patches that
// make it of the old one, in any order but all at once, and the length of each
// share afterwards. They fit shares laid out as this package and the
// reference do it: those whose [Share.InPlace] says so.
func (u *Update) Finish() (v Version, patches [][]Patch, length int64, err error) {
	if u.finished {
		return v, nil, 0, errors.New("update finished twice")
	}
	for _, seg := range u.Must() {
		if !u.put[seg] {
			return v, nil, 0, fmt.Errorf("finishing an update without segment %d", seg)
		}
	}
	u.finished = true
	heads, trees, err := u.w.seal()
	if err != nil {
		return v, nil, 0, err
	}
	s := &u.w.sections
	for i := range u.patches {
		u.patches[i] = append(u.patches[i], Patch{s.tree.Off, trees[i]}, Patch{0, heads[i]})
	}
	return u.w.version, u.patches, s.end, nil
}
