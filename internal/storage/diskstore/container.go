package diskstore

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/crypto/blake2b"

	"tahoe-go/internal/storage"
)

// An immutable container, all numbers big-endian:
//
//	0   u32 version: 1 holds lease secrets in plain, 2 hashed
//	4   u32 data length, or 2^32-1 when it is that or more
//	8   u32 number of leases
//	12  data
//	..  leases of 72 bytes: u32 owner, renew secret, cancel secret, u32 expiry
//
// The reference finds the end of the data by counting back from the end of
// the file. A lease that was being added when the power went leaves up to 72
// bytes after the last counted lease, and that rule would take them for data.
// So the length field decides wherever it is consistent with the file size.
// Containers of 4 GiB and more have no such field and follow the old rule.
const (
	headerSize = 12
	leaseSize  = 72

	maxLength = math.MaxUint32 // the length field stops here
	maxLeases = math.MaxUint32
)

// errNotContainer means a file that is no immutable share: a mutable one, or
// damaged.
var errNotContainer = errors.New("not an immutable share container")

// container is what the header and size of a share file say. All are counts
// or sizes in bytes.
type container struct {
	version uint32
	data    int64 // length of the data, from headerSize on
	leases  int64
}

// leaseOff returns where lease i is in the file.
func (c container) leaseOff(i int64) int64 { return headerSize + c.data + i*leaseSize }

// parseContainer reads a header against the size of its file.
func parseContainer(h [headerSize]byte, size int64) (container, error) {
	c := container{
		version: binary.BigEndian.Uint32(h[0:]),
		leases:  int64(binary.BigEndian.Uint32(h[8:])),
	}
	length := int64(binary.BigEndian.Uint32(h[4:]))
	body := size - headerSize
	switch {
	case body < 0:
		return c, fmt.Errorf("%w: %d bytes", errNotContainer, size)
	case c.version != 1 && c.version != 2:
		return c, fmt.Errorf("%w: version %d", errNotContainer, c.version)
	case length != maxLength && length <= body && body-length <= (c.leases+1)*leaseSize:
		c.data = length
		c.leases = min(c.leases, (body-length)/leaseSize)
	case body < c.leases*leaseSize:
		return c, fmt.Errorf("%w: %d leases in %d bytes", errNotContainer, c.leases, size)
	default:
		c.data = body - c.leases*leaseSize
	}
	return c, nil
}

// newHeader returns the header of a new container with one lease.
func newHeader(size int64) [headerSize]byte {
	var h [headerSize]byte
	binary.BigEndian.PutUint32(h[0:], 2)
	binary.BigEndian.PutUint32(h[4:], uint32(min(size, maxLength)))
	binary.BigEndian.PutUint32(h[8:], 1)
	return h
}

// Owner numbers as the reference writes them; nothing reads them.
const (
	ownerUpload = 0
	ownerAdded  = 1
)

// lease is one lease as it is in the file: in version 2 the secrets are
// hashes, which reveal nothing.
type lease struct {
	owner         uint32
	renew, cancel [32]byte
	expires       uint32 // seconds since 1970
}

// newLease returns the lease that a container of this version holds for ls.
func newLease(version uint32, owner uint32, ls storage.LeaseSecrets, expires time.Time) (lease, error) {
	renew, cancel := ls.Renew.Reveal(), ls.Cancel.Reveal()
	if len(renew) != 32 || len(cancel) != 32 {
		return lease{}, errors.New("a lease secret is not 32 bytes")
	}
	l := lease{owner: owner, expires: uint32(min(max(expires.Unix(), 0), math.MaxUint32))}
	if version == 1 {
		copy(l.renew[:], renew)
		copy(l.cancel[:], cancel)
		return l, nil
	}
	l.renew = blake2b.Sum256([]byte(renew))
	l.cancel = blake2b.Sum256([]byte(cancel))
	return l, nil
}

// sameRenew compares renew secrets in constant time.
func (l *lease) sameRenew(m *lease) bool {
	return subtle.ConstantTimeCompare(l.renew[:], m.renew[:]) == 1
}

func (l *lease) encode() [leaseSize]byte {
	var b [leaseSize]byte
	binary.BigEndian.PutUint32(b[0:], l.owner)
	copy(b[4:], l.renew[:])
	copy(b[36:], l.cancel[:])
	binary.BigEndian.PutUint32(b[68:], l.expires)
	return b
}

func parseLease(b []byte) lease {
	l := lease{owner: binary.BigEndian.Uint32(b[0:]), expires: binary.BigEndian.Uint32(b[68:leaseSize])}
	copy(l.renew[:], b[4:])
	copy(l.cancel[:], b[36:])
	return l
}
