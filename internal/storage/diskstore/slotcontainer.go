package diskstore

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"tahoe-go/internal/storage"
)

// A mutable container, all numbers big-endian:
//
//	0    32 bytes magic: version 1 holds lease secrets in plain, 2 hashed
//	32   20 bytes id of the node that recorded the write enabler
//	52   write enabler, in plain
//	84   u64 data length
//	92   u64 where the extra leases are: just after the room for data
//	100  four leases of 92 bytes: u32 owner (0: free), u32 expiry, renew
//	     secret, cancel secret, 20 bytes id of the node that took it
//	468  room for data, which never shrinks
//	..   u32 number of extra leases, and these
//
// What follows the last extra lease means nothing.
const (
	slotLengthOff = 84
	slotLeasesOff = 100
	slotHeader    = 100 // bytes before the leases
	slotLeaseSize = 92
	slotLeases    = 4 // in their fixed place
	slotDataOff   = slotLeasesOff + slotLeases*slotLeaseSize
)

// The magic strings, by version. The last five bytes of the second are
// tagged.Sum("allmydata_mutable_container_header", the text before them).
var slotMagic = map[uint32]string{
	1: "Tahoe mutable container v1\n\x75\x09\x44\x03\x8e",
	2: "Tahoe mutable container v2\n\xc3\x55\x21\x99\x25",
}

// errNotSlot means a file that is no mutable share: an immutable one, or
// damaged.
var errNotSlot = errors.New("not a mutable share container")

// slotContainer is what the header and size of a mutable share file say.
type slotContainer struct {
	version uint32
	nodeID  [20]byte
	enabler [32]byte
	data    int64 // length of the data, from slotDataOff on
	extra   int64 // offset of the number of extra leases
	extras  int64 // extra leases
}

// parseSlot reads a header against the size of its file. The number of extra
// leases is elsewhere in the file.
func parseSlot(h [slotHeader]byte, size int64) (slotContainer, error) {
	var c slotContainer
	for version, magic := range slotMagic {
		if string(h[:len(magic)]) == magic {
			c.version = version
		}
	}
	length, extra := binary.BigEndian.Uint64(h[slotLengthOff:]), binary.BigEndian.Uint64(h[slotLengthOff+8:])
	switch {
	case c.version == 0:
		return c, fmt.Errorf("%w: unknown magic", errNotSlot)
	case extra < slotDataOff || extra > math.MaxInt64 || int64(extra) > size-4:
		return c, fmt.Errorf("%w: leases at %d of %d bytes", errNotSlot, extra, size)
	case length > extra-slotDataOff:
		return c, fmt.Errorf("%w: %d bytes of data in room for %d", errNotSlot, length, extra-slotDataOff)
	}
	copy(c.nodeID[:], h[32:])
	copy(c.enabler[:], h[52:])
	c.data, c.extra = int64(length), int64(extra)
	return c, nil
}

// newSlot returns a container of version 2 without data, up to and with the
// number of extra leases.
func newSlot(nodeID [20]byte, enabler [32]byte) (slotContainer, []byte) {
	c := slotContainer{version: 2, nodeID: nodeID, enabler: enabler, extra: slotDataOff}
	b := make([]byte, slotDataOff+4)
	copy(b, slotMagic[2])
	copy(b[32:], nodeID[:])
	copy(b[52:], enabler[:])
	copy(b[slotLengthOff:], c.lengths())
	return c, b
}

// lengths returns the two numbers at slotLengthOff.
func (c slotContainer) lengths() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(c.data)), uint64(c.extra))
}

// readSlot reads and checks the header of a mutable share file.
func readSlot(f file) (slotContainer, error) {
	size, err := f.Size()
	if err != nil {
		return slotContainer{}, err
	}
	var h [slotHeader]byte
	if size >= slotHeader {
		if _, err := f.ReadAt(h[:], 0); err != nil {
			return slotContainer{}, err
		}
	}
	c, err := parseSlot(h, size)
	if err != nil {
		return c, err
	}
	var n [4]byte
	if _, err := f.ReadAt(n[:], c.extra); err != nil {
		return c, err
	}
	c.extras = min(int64(binary.BigEndian.Uint32(n[:])), (size-c.extra-4)/slotLeaseSize)
	return c, nil
}

// slotCount is how many places for leases there are.
func (c slotContainer) slotCount() int64 { return slotLeases + c.extras }

// leaseOff returns where place i for a lease is in the file.
func (c slotContainer) leaseOff(i int64) int64 {
	if i < slotLeases {
		return slotLeasesOff + i*slotLeaseSize
	}
	return c.extra + 4 + (i-slotLeases)*slotLeaseSize
}

// permits compares the write enabler in constant time.
func (c slotContainer) permits(we storage.WriteEnabler) bool {
	b, ok := we.Reveal()
	return ok && subtle.ConstantTimeCompare(c.enabler[:], b[:]) == 1
}

// slotLease is one lease as it is in the file.
type slotLease struct {
	owner, expires uint32
	renew, cancel  [32]byte
	nodeID         [20]byte
}

// newSlotLease returns the lease that a container of this version holds for
// ls.
func newSlotLease(version uint32, ls storage.LeaseSecrets, expires time.Time, nodeID [20]byte) (slotLease, error) {
	l, err := newLease(version, ownerAdded, ls, expires)
	if err != nil {
		return slotLease{}, err
	}
	return slotLease{l.owner, l.expires, l.renew, l.cancel, nodeID}, nil
}

func (l *slotLease) encode() []byte {
	b := make([]byte, 0, slotLeaseSize)
	b = binary.BigEndian.AppendUint32(b, l.owner)
	b = binary.BigEndian.AppendUint32(b, l.expires)
	b = append(b, l.renew[:]...)
	b = append(b, l.cancel[:]...)
	return append(b, l.nodeID[:]...)
}

// leasePlace is where the lease of a client is, or would go.
type leasePlace struct {
	at      int64 // index; slotCount when there is no free place
	held    bool
	expires uint32 // of the lease held
}

// findLease looks for the lease that want renews, else for the first free
// place. Memory does not grow with the number of leases.
func (c slotContainer) findLease(f file, want *slotLease) (leasePlace, error) {
	place := leasePlace{at: c.slotCount()}
	const batch = 256
	buf := make([]byte, min(c.slotCount(), batch)*slotLeaseSize)
	for first := int64(0); first < c.slotCount(); {
		n := min(batch, c.slotCount()-first)
		if first < slotLeases {
			n = slotLeases
		}
		if _, err := f.ReadAt(buf[:n*slotLeaseSize], c.leaseOff(first)); err != nil {
			return place, err
		}
		for i := range n {
			b := buf[i*slotLeaseSize:][:slotLeaseSize]
			switch owner := binary.BigEndian.Uint32(b); {
			case owner == 0:
				place.at = min(place.at, first+i)
			case subtle.ConstantTimeCompare(b[8:40], want.renew[:]) == 1:
				return leasePlace{first + i, true, binary.BigEndian.Uint32(b[4:])}, nil
			}
		}
		first += n
	}
	return place, nil
}
