package webapi

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/storage"
)

// operations are the transfers under way and the last ones that ended. They
// are kept in memory only.
type operations struct {
	now func() time.Time

	mu     sync.Mutex // guards below
	active map[*operation]struct{}
	recent []*operation // newest first
}

// recentMost bounds the ended operations kept, of each kind.
const recentMost = 10

func newOperations(now func() time.Time) *operations {
	return &operations{now: now, active: map[*operation]struct{}{}}
}

// The kinds of operation.
const (
	upload   = "upload"
	download = "download"
	publish  = "publish"  // of a mutable file or directory, new or changed
	retrieve = "retrieve" // of one
	checking = "check"
)

// stage is what an operation is at, in order.
type stage string

const (
	receiving stage = "receiving" // the body from the client
	waiting   stage = "waiting"   // for servers to be connected
	hashing   stage = "hashing"   // the file, for its key
	sending   stage = "sending"   // shares to servers
	fetching  stage = "fetching"  // blocks, and passing the file on
	asking    stage = "asking"    // servers what they hold
	ended     stage = "done"
	failed    stage = "failed"
)

// operation is one transfer. It holds no cap and no key.
type operation struct {
	ops     *operations
	id      string // the client's word for it, or ""
	kind    string
	started time.Time

	mu      sync.Mutex // guards below
	si      string     // "" until known
	stage   stage
	words   string // more of the stage, for people; "": the usual ones
	done    int64  // bytes of this stage
	total   int64  // bytes of the file; -1: not known yet
	ended   time.Time
	failure string
	servers map[string]*part
}

// part is one server's part in an operation.
type part struct {
	shares []storage.ShareNum
	bytes  int64
	err    string
}

// begin notes a new operation. End it.
func (o *operations) begin(kind, id string, first stage, total int64) *operation {
	op := &operation{ops: o, id: id, kind: kind, started: o.now(), stage: first, total: total, servers: map[string]*part{}}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.active[op] = struct{}{}
	return op
}

// end moves the operation to the recent ones. err nil: it went well. Only the
// first call counts.
func (op *operation) end(err error) {
	o := op.ops
	o.mu.Lock() // until it is among the recent ones: nobody sees it active and ended
	defer o.mu.Unlock()
	if !op.finish(err) {
		return
	}
	delete(o.active, op)
	o.recent = slices.Insert(o.recent, 0, op)
	kept := 0
	o.recent = slices.DeleteFunc(o.recent, func(other *operation) bool {
		if other.kind == op.kind {
			kept++
		}
		return other.kind == op.kind && kept > recentMost
	})
}

// finish notes how the operation ended, once.
func (op *operation) finish(err error) bool {
	op.mu.Lock()
	defer op.mu.Unlock()
	if !op.ended.IsZero() {
		return false
	}
	op.ended, op.words = op.ops.now(), ""
	if op.stage = ended; err != nil {
		op.stage, op.failure = failed, clean(translate(err).text)
	} else if op.total < 0 && (op.kind == upload || op.kind == download) {
		op.total = op.done
	}
	return true
}

// enter begins a stage, from zero bytes. op may be nil.
func (op *operation) enter(s stage) {
	if op == nil {
		return
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	op.stage, op.done, op.words = s, 0, ""
}

// tell puts the present stage into words.
func (op *operation) tell(words string) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.words = words
}

// add counts bytes of the present stage.
func (op *operation) add(n int) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.done += int64(n)
}

// size sets what is known of the file.
func (op *operation) size(total int64) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.total = total
}

// become makes it another kind of operation, once that is known.
func (op *operation) become(kind string) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.kind = kind
}

// object notes what the operation is about, unless that is known already: a
// file matters more than the directory that it is then linked in.
func (op *operation) object(c caps.Cap) {
	si, ok := caps.Index(c)
	op.mu.Lock()
	defer op.mu.Unlock()
	if ok && op.si == "" {
		op.si = si.String()
	}
}

func (op *operation) index(si storage.Index) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.si = si.String()
}

// at returns the notes on a server. op.mu is held.
func (op *operation) at(server string) *part {
	p := op.servers[server]
	if p == nil {
		p = &part{}
		op.servers[server] = p
	}
	return p
}

func (op *operation) share(server string, num storage.ShareNum, bytes int, why error) {
	op.mu.Lock()
	defer op.mu.Unlock()
	p := op.at(server)
	if why != nil {
		p.err = clean(why.Error())
		return
	}
	if !slices.Contains(p.shares, num) {
		p.shares = append(p.shares, num)
	}
	p.bytes += int64(bytes)
}

// trace lets an upload or download tell how it goes.
func (op *operation) trace() *immutable.Trace {
	if op == nil {
		return nil
	}
	return &immutable.Trace{
		Asked: func(server string, found []storage.ShareNum, err error, _ time.Duration) {
			op.mu.Lock()
			defer op.mu.Unlock()
			if p := op.at(server); err != nil {
				p.err = clean(err.Error())
			}
		},
		Placed: func(server string, num storage.ShareNum, _ bool) { op.share(server, num, 0, nil) },
		Encoded: func(done, _ int64) {
			op.mu.Lock()
			defer op.mu.Unlock()
			op.done = done
		},
		Pushed: func(server string, num storage.ShareNum, bytes int) { op.share(server, num, bytes, nil) },
		Block: func(server string, num storage.ShareNum, _ int64, bytes int, _ time.Duration) {
			op.share(server, num, bytes, nil)
		},
		Dropped: func(server string, num storage.ShareNum, why error) { op.share(server, num, 0, why) },
	}
}

// opView is an operation at one moment, as /status shows it. The first fields
// are those of the Python gateway.
type opView struct {
	Type           string   `json:"type"`
	SI             *string  `json:"storage-index-string"`
	TotalSize      *int64   `json:"total-size"`
	Status         string   `json:"status"`
	ProgressHash   *float64 `json:"progress-hash,omitempty"`
	ProgressCipher *float64 `json:"progress-ciphertext,omitempty"`
	ProgressPush   *float64 `json:"progress-encode-push,omitempty"`
	Progress       *float64 `json:"progress,omitempty"`

	Operation string     `json:"operation,omitempty"` // the X-Tahoe-Operation header
	Stage     stage      `json:"stage"`
	Done      int64      `json:"done"`     // bytes of this stage
	Started   float64    `json:"started"`  // seconds since 1970
	Finished  *float64   `json:"finished"` // null: not yet
	Error     string     `json:"error,omitempty"`
	Servers   []partView `json:"servers"`

	began, over time.Time
}

type partView struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Shares []int  `json:"shares"`
	Bytes  int64  `json:"bytes"`
	Error  string `json:"error,omitempty"`
}

// words for people, by stage.
var stageWords = map[stage]string{
	receiving: "receiving the file",
	waiting:   "waiting for servers",
	hashing:   "computing the file's key",
	sending:   "sending shares",
	fetching:  "fetching",
	asking:    "asking servers",
	ended:     "finished",
	failed:    "failed",
}

// fraction of total, 0 to 1.
func fraction(done, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return min(1, float64(done)/float64(total))
}

func (op *operation) view(names map[string]string) opView {
	op.mu.Lock()
	defer op.mu.Unlock()
	v := opView{Type: op.kind, Status: cmp.Or(op.words, stageWords[op.stage]), Operation: op.id, Stage: op.stage, Done: op.done,
		Started: seconds(op.started), Error: op.failure, Servers: []partView{}, began: op.started, over: op.ended}
	if op.si != "" {
		si := op.si
		v.SI = &si
	}
	if op.total >= 0 {
		total := op.total
		v.TotalSize = &total
	}
	if !op.ended.IsZero() {
		end := seconds(op.ended)
		v.Finished = &end
	}
	f := fraction(op.done, op.total)
	switch op.kind {
	case download:
		if op.stage == ended {
			f = 1
		}
		v.Progress = &f
	case upload:
		var hash, push float64
		switch op.stage {
		case hashing:
			hash = f
		case sending:
			hash, push = 1, f
		case ended:
			hash, push = 1, 1
		}
		v.ProgressHash, v.ProgressCipher, v.ProgressPush = &hash, &push, &push
	}
	for id, p := range op.servers {
		pv := partView{ID: id, Name: clean(names[id]), Shares: []int{}, Bytes: p.bytes, Error: p.err}
		for _, num := range slices.Sorted(slices.Values(p.shares)) {
			pv.Shares = append(pv.Shares, int(num))
		}
		v.Servers = append(v.Servers, pv)
	}
	slices.SortFunc(v.Servers, func(a, b partView) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return v
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// views returns the operations, newest first. want "" means all, else only
// that of this id.
func (o *operations) views(want string, names map[string]string) (active, recent []opView) {
	o.mu.Lock()
	defer o.mu.Unlock()
	act := slices.Collect(maps.Keys(o.active))
	slices.SortFunc(act, func(a, b *operation) int { return b.started.Compare(a.started) })
	pick := func(ops []*operation) []opView {
		views := []opView{}
		for _, op := range ops {
			if want == "" || op.id == want {
				views = append(views, op.view(names))
			}
		}
		return views
	}
	return pick(act), pick(o.recent)
}
