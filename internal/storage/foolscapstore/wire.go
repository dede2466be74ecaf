package foolscapstore

import (
	"errors"
	"fmt"
	"strings"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// Names of the remote interfaces. Those of buckets have no domain in the
// reference.
const (
	serverIface = "RIStorageServer.tahoe.allmydata.com"
	writerIface = "RIBucketWriter"
	readerIface = "RIBucketReader"
)

// protocolKey is where the limits are in what get_version returns.
const protocolKey = "http://allmydata.org/tahoe/protocols/storage/v1"

const (
	maxShares   = 256          // of one storage index
	maxWrite    = 16 << 20     // bytes of one write of a bucket
	maxRead     = 32 << 20     // bytes of one read of a bucket
	maxSlotCall = 64 << 20     // bytes of arguments of one call that changes a slot
	maxPatches  = 8192         // writes to one share of a slot in one call
	maxSpans    = 1024         // read from each share of a slot in one call
	maxReason   = 32 << 10     // bytes of a report
	maxSize     = 1<<31 - 1    // the reference's limit for the length of one read
	overhead    = 64 << 10     // of arguments beside share data
	maxMutable  = 69105 * 1e12 // what a server that does not say so takes
	operator    = "eq"         // the only one of tests
	immutable   = "immutable"  // kinds of share in reports
	mutable     = "mutable"    //
	noEnabler   = "The write enabler was recorded by nodeid '"
)

// Schemas of both sides.
var (
	shareNum = banana.Int(0, maxShares-1)
	secret   = banana.Fixed(32)
	// The reference takes shorter indexes and finds nothing there.
	storageIndex = banana.Bytes(16)
	readVector   = banana.ListOf(banana.TupleOf(banana.Size(), banana.Int(0, maxSize)), maxSpans)
)

// Classes of errors as the reference names them.
const (
	classConflict   = "allmydata.interfaces.ConflictingWriteError"
	classTooLarge   = "allmydata.interfaces.DataTooLargeError"
	classNoSpace    = "allmydata.interfaces.NoSpace"
	classBadEnabler = "allmydata.interfaces.BadWriteEnablerError"
	classContainer  = "allmydata.storage.common.UnknownContainerVersionError"
	classNotFound   = "builtins.FileNotFoundError"
	classAssertion  = "builtins.AssertionError"
	classIndex      = "builtins.IndexError"
	classValue      = "builtins.ValueError"
	classViolation  = "foolscap.tokens.Violation"
)

func violation(format string, args ...any) error {
	return &foolscap.RemoteError{Type: classViolation, Value: fmt.Sprintf(format, args...)}
}

// remote makes what peers understand of an error of a storage.Server; of any
// other error they learn nothing. nodeID is this server's.
func remote(err error, nodeID [20]byte) error {
	for _, e := range []struct {
		is    error
		class string
	}{
		{storage.ErrConflict, classConflict}, {storage.ErrTooLarge, classTooLarge}, {storage.ErrNoSpace, classNoSpace},
		{storage.ErrNotFound, classNotFound}, {storage.ErrClosed, classAssertion},
		{storage.ErrIncomplete, classValue}, {storage.ErrFragmented, classValue}, {storage.ErrRefused, classValue},
	} {
		if errors.Is(err, e.is) {
			return &foolscap.RemoteError{Type: e.class, Value: e.is.Error()}
		}
	}
	if errors.Is(err, storage.ErrBadWriteEnabler) {
		if e, ok := errors.AsType[*storage.BadWriteEnablerError](err); ok && e.NodeID != [20]byte{} {
			nodeID = e.NodeID
		}
		return &foolscap.RemoteError{Type: classBadEnabler, Value: noEnabler + base32.Encode(nodeID[:]) + "'."}
	}
	return err
}

// local makes an error of a storage.Server of what a peer raised.
func local(err error) error {
	e, ok := errors.AsType[*foolscap.RemoteError](err)
	if !ok {
		return err
	}
	is := func(class string) bool { return e.Is(&foolscap.RemoteError{Type: class}) }
	switch {
	case is(classConflict):
		return fmt.Errorf("%w: %w", storage.ErrConflict, err)
	case is(classTooLarge):
		return fmt.Errorf("%w: %w", storage.ErrTooLarge, err)
	case is(classNoSpace):
		return fmt.Errorf("%w: %w", storage.ErrNoSpace, err)
	case is(classNotFound):
		return fmt.Errorf("%w: %w", storage.ErrNotFound, err)
	case is(classBadEnabler):
		if id, ok := recordedBy(e.Value); ok {
			return fmt.Errorf("%w: %w", &storage.BadWriteEnablerError{NodeID: id}, err)
		}
		return fmt.Errorf("%w: %w", storage.ErrBadWriteEnabler, err)
	case is(classViolation), is(classValue), is(classAssertion):
		return fmt.Errorf("%w: %w", storage.ErrRefused, err)
	}
	return err
}

// recordedBy finds the node in the text of a BadWriteEnablerError.
func recordedBy(text string) (id [20]byte, ok bool) {
	_, rest, _ := strings.Cut(text, noEnabler)
	name, _, found := strings.Cut(rest, "'")
	b, err := base32.Decode(name)
	if !found || err != nil || len(b) != len(id) {
		return id, false
	}
	return [20]byte(b), true
}
