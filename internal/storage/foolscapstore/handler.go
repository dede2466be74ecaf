package foolscapstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

// HandlerConfig says what a Handler serves. A zero limit is its default.
type HandlerConfig struct {
	Server     storage.Server // required
	NodeID     [20]byte       // the node's tub id, named to those whose write enabler is wrong
	MaxUploads int            // shares being received at once, others are refused; 0: 2048
	UploadIdle time.Duration  // an upload that nothing is written to for so long is aborted; 0: 30 min
	MaxAnswers int64          // bytes of share data in answers under way, of all peers; others wait, and the slowest is dropped for them; 0: 256 MiB
	Log        *slog.Logger   // nil: none
}

// Handler serves a storage.Server to Foolscap peers. Uploads end with the
// connection they began on.
type Handler struct {
	cfg     HandlerConfig
	object  *foolscap.Object
	answers *answers

	mu      sync.Mutex // guards below
	closed  bool
	open    int // uploads, and those about to be
	uploads map[*upload]struct{}
}

// NewHandler returns a Handler.
func NewHandler(cfg HandlerConfig) *Handler {
	if cfg.MaxUploads == 0 {
		cfg.MaxUploads = 2048
	}
	if cfg.UploadIdle == 0 {
		cfg.UploadIdle = 30 * time.Minute
	}
	if cfg.MaxAnswers == 0 {
		cfg.MaxAnswers = 256 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{cfg: cfg, answers: newAnswers(cfg.MaxAnswers, cfg.Log), uploads: make(map[*upload]struct{})}
	h.object = &foolscap.Object{Iface: serverIface, Methods: serverMethods, Self: h}
	return h
}

// Object is what to register with a Tub, under the node's storage swissnum.
func (h *Handler) Object() *foolscap.Object { return h.object }

// Close aborts all uploads and takes no more. Everything else goes on until
// the Tub closes, which is better done first.
func (h *Handler) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	var all []*upload
	for u := range h.uploads {
		all = append(all, u)
	}
	h.mu.Unlock()
	var errs []error
	for _, u := range all {
		errs = append(errs, u.abort(ctx))
	}
	return errors.Join(errs...)
}

// serverMethods is RIStorageServer, and renew_lease, which the reference
// answers though its interface does not name it.
var serverMethods = map[string]*foolscap.Method{
	"get_version": {Concurrent: true, Do: getVersion},
	"allocate_buckets": {
		Args: []foolscap.Arg{
			{Name: "storage_index", Schema: storageIndex}, {Name: "renew_secret", Schema: secret}, {Name: "cancel_secret", Schema: secret},
			{Name: "sharenums", Schema: banana.SetOf(shareNum, maxShares)}, {Name: "allocated_size", Schema: banana.Size()}, {Name: "canary", Schema: banana.Reference()},
		},
		Concurrent: true, Do: allocateBuckets,
	},
	"add_lease": {
		Args:       []foolscap.Arg{{Name: "storage_index", Schema: storageIndex}, {Name: "renew_secret", Schema: secret}, {Name: "cancel_secret", Schema: secret}},
		Concurrent: true, Do: addLease,
	},
	"renew_lease": {
		Args:       []foolscap.Arg{{Name: "storage_index", Schema: storageIndex}, {Name: "renew_secret", Schema: secret}},
		Concurrent: true, Do: renewLease,
	},
	"get_buckets": {Args: []foolscap.Arg{{Name: "storage_index", Schema: storageIndex}}, Concurrent: true, Do: getBuckets},
	"slot_readv": {
		Args: []foolscap.Arg{
			{Name: "storage_index", Schema: storageIndex},
			{Name: "shares", Schema: banana.ListOf(banana.Int(0, maxSize), maxShares)}, {Name: "readv", Schema: readVector},
		},
		Concurrent: true, Do: slotRead,
	},
	"slot_testv_and_readv_and_writev": {
		Args: []foolscap.Arg{
			{Name: "storage_index", Schema: storageIndex}, {Name: "secrets", Schema: banana.TupleOf(secret, secret, secret)},
			{Name: "tw_vectors", Schema: slotVectors}, {Name: "r_vector", Schema: readVector},
		},
		Limit: maxSlotCall, Concurrent: true, Do: slotWrite,
	},
	"advise_corrupt_share": {
		Args: []foolscap.Arg{
			{Name: "share_type", Schema: banana.Bytes(int64(len(immutable)))}, {Name: "storage_index", Schema: storageIndex},
			{Name: "shnum", Schema: banana.Int(0, maxSize)}, {Name: "reason", Schema: banana.Bytes(maxReason)},
		},
		Concurrent: true, Do: adviseCorruptShare,
	},
}

// index returns argument i. What is not an index has no shares.
func index(c *foolscap.Call, i int) (si storage.Index, ok bool) {
	b := c.Bytes(i)
	return si, copy(si[:], b) == len(si)
}

var errIndex = violation("a storage index has 16 bytes")

// leases returns the two arguments from i on.
func leases(c *foolscap.Call, i int) storage.LeaseSecrets {
	return storage.LeaseSecrets{Renew: redact.New(string(c.Bytes(i))), Cancel: redact.New(string(c.Bytes(i + 1)))}
}

func getVersion(ctx context.Context, c *foolscap.Call) (any, error) {
	v, err := c.Self.(*Handler).cfg.Server.Version(ctx)
	if err != nil {
		return nil, err
	}
	limits := banana.Dict{
		{Key: []byte("available-space"), Value: v.AvailableSpace},
		{Key: []byte("delete-mutable-shares-with-zero-length-writev"), Value: true},
		{Key: []byte("fills-holes-with-zero-bytes"), Value: true},
		{Key: []byte("maximum-immutable-share-size"), Value: v.MaxImmutableShareSize},
		{Key: []byte("maximum-mutable-share-size"), Value: v.MaxMutableShareSize},
		{Key: []byte("prevents-read-past-end-of-share-data"), Value: true},
		{Key: []byte("tolerates-immutable-read-overrun"), Value: true},
	}
	return banana.Dict{{Key: []byte("application-version"), Value: []byte(v.Application)}, {Key: []byte(protocolKey), Value: limits}}, nil
}

func allocateBuckets(ctx context.Context, c *foolscap.Call) (any, error) {
	h := c.Self.(*Handler)
	si, ok := index(c, 0)
	if !ok {
		return nil, errIndex
	}
	canary := c.Ref(5)
	if canary == nil {
		return nil, violation("the canary is to be an object of the caller")
	}
	var nums []storage.ShareNum
	for _, v := range c.Set(3) {
		nums = append(nums, storage.ShareNum(v.(int64)))
	}
	slices.Sort(nums)
	nums, err := h.reserve(slices.Compact(nums))
	if err != nil {
		return nil, err
	}
	a, err := h.cfg.Server.Allocate(ctx, si, nums, c.Int(4), leases(c, 1))
	if err != nil {
		h.unreserve(len(nums))
		return nil, remote(err, h.cfg.NodeID)
	}
	h.unreserve(len(nums) - len(a.Writers))
	have, writers := banana.Set{}, banana.Dict{}
	for _, num := range a.Have {
		have = append(have, int64(num))
	}
	for _, num := range nums {
		if w := a.Writers[num]; w != nil {
			u := h.begin(w, fmt.Sprintf("share %d of %s", num, si.Short()), c.Int(4), canary)
			writers = append(writers, banana.Pair{Key: int64(num), Value: &foolscap.Object{Iface: writerIface, Methods: writerMethods, Self: u}})
		}
	}
	return banana.Tuple{have, writers}, nil
}

// reserve returns those of nums that there is room for.
func (h *Handler) reserve(nums []storage.ShareNum) ([]storage.ShareNum, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errors.New("shutting down")
	}
	nums = nums[:min(len(nums), h.cfg.MaxUploads-h.open)]
	h.open += len(nums)
	return nums, nil
}

func (h *Handler) unreserve(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open -= n
}

// addLease is silent when nothing is held.
func addLease(ctx context.Context, c *foolscap.Call) (any, error) {
	h := c.Self.(*Handler)
	si, ok := index(c, 0)
	if !ok {
		return nil, nil
	}
	err := h.cfg.Server.AddLease(ctx, si, leases(c, 1))
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return nil, remote(err, h.cfg.NodeID)
}

// renewLease is for old clients. A lease that is not there is added; its
// cancel secret opens nothing.
func renewLease(ctx context.Context, c *foolscap.Call) (any, error) {
	h := c.Self.(*Handler)
	err := error(storage.ErrNotFound)
	if si, ok := index(c, 0); ok {
		renew := redact.New(string(c.Bytes(1)))
		err = h.cfg.Server.AddLease(ctx, si, storage.LeaseSecrets{Renew: renew, Cancel: renew})
	}
	if errors.Is(err, storage.ErrNotFound) {
		return nil, &foolscap.RemoteError{Type: classIndex, Value: "no such lease to renew"}
	}
	return nil, remote(err, h.cfg.NodeID)
}

// adviseCorruptShare tells the operator, if the share is held.
func adviseCorruptShare(ctx context.Context, c *foolscap.Call) (any, error) {
	h := c.Self.(*Handler)
	kind, num, reason := string(c.Bytes(0)), c.Int(2), reasonOf(c.Bytes(3))
	if kind != immutable && kind != mutable {
		return nil, violation("a share is immutable or mutable")
	}
	si, ok := index(c, 1)
	if !ok || num >= maxShares {
		return nil, nil
	}
	var err error
	if kind == mutable {
		err = h.cfg.Server.ReportCorruptSlot(ctx, si, storage.ShareNum(num), reason)
	} else {
		var held map[storage.ShareNum]storage.ShareReader
		held, err = h.cfg.Server.Shares(ctx, si)
		if r := held[storage.ShareNum(num)]; r != nil {
			err = r.ReportCorrupt(ctx, reason)
		}
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return nil, remote(err, h.cfg.NodeID)
}

func reasonOf(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
