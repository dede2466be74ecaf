package diskstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"tahoe-go/internal/storage"
)

// maxExtraLeases bounds the leases that strangers can add to one share, and
// so the bytes that move when it grows: 6 MB.
const maxExtraLeases = 1 << 16

// patch is what comes to be at one place of a share file: data, or zeros.
// Patches are done in order, and doing them again changes nothing.
type patch struct {
	off   int64
	data  []byte
	zeros int64 // when data is nil
}

func (p patch) end() int64 { return p.off + p.zeros + int64(len(p.data)) }

// plan returns what turns the container c, in the file f of size bytes, into
// the one that w makes of it, with the lease l; another place for a lease is
// added only if spare. The file is nil for a container of newSlot. Nothing is
// written.
func (c slotContainer) plan(f file, size int64, w storage.SlotWrite, l slotLease, spare bool) ([]patch, error) {
	place := leasePlace{}
	if f != nil {
		var err error
		if place, err = c.findLease(f, &l); err != nil {
			return nil, err
		}
	}
	out, next := c.planData(size, w)
	if next.extra > c.extra {
		block := make([]byte, 4+c.extras*slotLeaseSize)
		if f != nil {
			if _, err := f.ReadAt(block, c.extra); err != nil {
				return nil, err
			}
		}
		out = append(out, patch{off: next.extra, data: block})
	}
	switch {
	case place.held && place.expires < l.expires:
		out = append(out, patch{off: next.leaseOff(place.at) + 4, data: u32(l.expires)})
	case place.held:
	case place.at == c.slotCount() && c.extras >= maxExtraLeases:
		return nil, errors.New("the share has as many leases as are taken")
	case place.at == c.slotCount() && !spare:
		return nil, storage.ErrNoSpace
	case place.at == c.slotCount():
		out = append(out, patch{off: next.extra, data: u32(uint32(c.extras + 1))})
		fallthrough
	default:
		out = append(out, patch{off: next.leaseOff(place.at), data: l.encode()})
	}
	if next != c {
		out = append(out, patch{off: slotLengthOff, data: next.lengths()})
	}
	return out, nil
}

// planData plans the data alone. next has the lengths to come.
func (c slotContainer) planData(size int64, w storage.SlotWrite) (out []patch, next slotContainer) {
	next = c
	for _, p := range w.Writes {
		// The room for data may hold what was cut off before; past the end
		// of the file there are zeros already.
		if gap := (patch{off: slotDataOff + next.data, zeros: min(p.Off, size-slotDataOff) - next.data}); gap.zeros > 0 {
			out = append(out, gap)
		}
		if len(p.Data) > 0 {
			out = append(out, patch{off: slotDataOff + p.Off, data: p.Data})
		}
		next.data = max(next.data, p.Off+int64(len(p.Data)))
	}
	next.extra = max(c.extra, slotDataOff+next.data)
	if w.NewLength != nil {
		next.data = min(next.data, *w.NewLength)
	}
	return out, next
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// zeroes is what gaps are filled with.
var zeroes [64 << 10]byte

// putZeros writes n zeros at off.
func putZeros(f file, off, n int64) error {
	for n > 0 {
		m := min(n, int64(len(zeroes)))
		if _, err := f.WriteAt(zeroes[:m], off); err != nil {
			return err
		}
		off, n = off+m, n-m
	}
	return nil
}

// put does a patch.
func (p patch) put(f file) error {
	if p.data == nil {
		return putZeros(f, p.off, p.zeros)
	}
	_, err := f.WriteAt(p.data, p.off)
	return err
}

// makeRoom writes zeros where patches go past the end of a file, so that a
// full disk says so before anything is changed. Nobody reads there: what
// follows the last lease means nothing.
func makeRoom(f file, size int64, patches []patch) error {
	for _, p := range patches {
		if at := max(p.off, size); p.data != nil && at < p.end() {
			if err := putZeros(f, at, p.end()-at); err != nil {
				return err
			}
		}
	}
	return nil
}

// growth is by how many bytes patches extend a file of this size.
func growth(size int64, patches []patch) int64 {
	end := size
	for _, p := range patches {
		end = max(end, p.end())
	}
	return end - size
}

// covers reports whether patches write most of a file that ends at end: then
// to write all of it elsewhere costs less than to write them twice.
func covers(patches []patch, end int64) bool {
	n := int64(0)
	for _, p := range patches {
		n += p.end() - p.off
	}
	return n > end/2
}

// copyAround copies what patches leave of the first size bytes.
func copyAround(to, from file, patches []patch, size int64) error {
	in := slices.Clone(patches)
	slices.SortFunc(in, func(a, b patch) int { return cmp.Compare(a.off, b.off) })
	at := int64(0)
	for _, p := range append(in, patch{off: size}) {
		if n := min(p.off, size) - at; n > 0 {
			if _, err := io.Copy(io.NewOffsetWriter(to, at), io.NewSectionReader(from, at, n)); err != nil {
				return err
			}
		}
		at = max(at, p.end())
	}
	return nil
}
