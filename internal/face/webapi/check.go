package webapi

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
)

// checker checks and repairs immutable files. *immutable.Client does.
type checker interface {
	Repair(ctx context.Context, c caps.CHKVerifier, o immutable.CheckOptions, tr *immutable.Trace) (*immutable.RepairResult, error)
	Check(ctx context.Context, c caps.CHKVerifier, o immutable.CheckOptions, tr *immutable.Trace) (*immutable.CheckResult, error)
}

var _ checker = (*immutable.Client)(nil)

// checked is a check's result, as JSON has it.
type checked struct {
	SI      string       `json:"storage-index"` // "": the object is in its cap
	Summary string       `json:"summary,omitempty"`
	Results checkResults `json:"results"`

	words    string
	names    map[string]string // of servers
	troubles []trouble         // what servers said when something did not work
}

type trouble struct{ Server, Words string }

// checkResults are the figures, nil for an object that is in its cap.
type checkResults struct {
	*checkCounts
	Healthy     bool  `json:"healthy"`
	Recoverable *bool `json:"recoverable,omitempty"`
}

type checkCounts struct {
	Happiness     int                 `json:"count-happiness"`
	Good          int                 `json:"count-shares-good"`
	Needed        int                 `json:"count-shares-needed"`
	Expected      int                 `json:"count-shares-expected"`
	Hosts         int                 `json:"count-good-share-hosts"`
	CorruptCount  int                 `json:"count-corrupt-shares"`
	Corrupt       [][3]any            `json:"list-corrupt-shares"` // server, storage index, share
	Responding    []string            `json:"servers-responding"`
	Sharemap      map[string][]string `json:"sharemap"`
	Wrong         int                 `json:"count-wrong-shares"`
	Recoverable   int                 `json:"count-recoverable-versions"`
	Unrecoverable int                 `json:"count-unrecoverable-versions"`
}

// checkArgs reads how thorough a check is to be, and whether what is not
// healthy is to be repaired.
func (q *request) checkArgs() (o immutable.CheckOptions, repair bool, err error) {
	if o.Verify, err = q.flag("verify"); err != nil {
		return o, false, err
	}
	if o.AddLease, err = q.flag("add-lease"); err != nil {
		return o, false, err
	}
	repair, err = q.flag("repair")
	return o, repair, err
}

// postCheck answers t=check.
func (h *Handler) postCheck(q *request, root caps.Cap, names []string) error {
	o, repair, err := q.checkArgs()
	if err != nil {
		return err
	}
	t, err := h.reach(q, root, names)
	if err != nil {
		return err
	}
	if typeOf(t.cap()) == unknownType {
		return errUnknownCap
	}
	op := h.ops.begin(checking, q.operationID(), waiting, -1)
	defer op.end(errFault) // if nothing else has
	op.object(t.cap())
	h.c.Grid.Wait(q.r.Context(), h.c.N)
	op.enter(asking)
	var c *checked
	var r *repaired
	if repair {
		r, err = h.repair(q.r.Context(), t.cap(), o, op)
		if err == nil && caps.Mutable(t.cap()) {
			err = r.err
		}
	} else {
		c, err = h.check(q.r.Context(), t.cap(), o, op)
	}
	op.end(err)
	switch {
	case err != nil:
		return err
	case q.arg("when_done") != "":
		return q.done(http.StatusOK, "")
	case r != nil:
		return h.showRepair(q, r)
	}
	return h.showCheck(q, c)
}

// showCheck answers with a check's result, in the form that output= names.
func (h *Handler) showCheck(q *request, c *checked) error {
	if strings.EqualFold(q.arg("output"), "json") {
		return q.json("text/plain", c)
	}
	return h.render(q, http.StatusOK, "check.html", c.page())
}

// check asks servers how an object is. op may be nil.
func (h *Handler) check(ctx context.Context, c caps.Cap, o immutable.CheckOptions, op *operation) (*checked, error) {
	out := &checked{words: kindWords(c), Results: checkResults{Healthy: true}}
	if typeOf(c) == unknownType {
		return out, nil // nobody can tell
	}
	if e := translateProhibited(h.c.Blacklist.Check(c)); e != nil {
		out.Summary = "Not checked: " + e.text // as the Python gateway, which calls it healthy too
		return out, nil
	}
	file, ok := caps.Verifier(c)
	if !ok {
		return out, nil // it is in its cap
	}
	if d, isDir := file.(caps.Dir); isDir {
		file = d.File()
	}
	switch v := file.(type) {
	case caps.CHKVerifier:
		files, can := h.c.Files.(checker)
		if !can {
			break
		}
		r, err := files.Check(ctx, v, o, op.trace())
		if err != nil {
			return nil, err
		}
		return out.ofFile(r), nil
	case caps.SSKVerifier:
		r, err := h.c.Mutable.Check(ctx, v, mutable.CheckOptions{Verify: o.Verify, AddLease: o.AddLease}, op.mutableTrace())
		if err != nil {
			return nil, err
		}
		return out.ofMutable(r), nil
	}
	return nil, notYet("Checks of such objects")
}

// ofFile is what a check of an immutable file found.
func (c *checked) ofFile(r *immutable.CheckResult) *checked {
	n := checkCounts{Happiness: r.Happy(), Good: r.Good(), Needed: r.Cap.K, Expected: r.Cap.N, Hosts: r.Hosts(), Responding: r.Responding(), Recoverable: 1,
		Sharemap: map[string][]string{}}
	if !r.Recoverable() {
		n.Recoverable, n.Unrecoverable = 0, 1
	}
	for num, servers := range r.Sharemap {
		n.Sharemap[strconv.Itoa(int(num))] = servers
	}
	c.SI, c.Summary, c.names = r.Cap.Index.String(), r.Summary(), map[string]string{}
	for _, s := range r.Corrupt {
		n.Corrupt = append(n.Corrupt, [3]any{s.Server, c.SI, int(s.Num)})
	}
	for _, s := range r.Servers {
		c.names[s.ID] = clean(s.Name)
		if s.Err != nil {
			c.troubles = append(c.troubles, trouble{c.named(s.ID), clean(s.Err.Error())})
		}
	}
	return c.with(n, r.Healthy(), r.Recoverable())
}

// ofMutable is what a check of a mutable file found. Shares are named with
// their version, as the Python gateway does.
func (c *checked) ofMutable(r *mutable.CheckResult) *checked {
	v, recoverable := r.Best()
	n := checkCounts{Happiness: r.Happy(), Good: r.Good(), Needed: v.K, Expected: v.N, Hosts: r.Hosts(), Responding: r.Responding(), Wrong: r.Wrong(),
		Sharemap: map[string][]string{}}
	n.Recoverable, n.Unrecoverable = r.Count()
	for v, shares := range r.Sharemap {
		for num, servers := range shares {
			n.Sharemap[fmt.Sprintf("seq%d-%s-sh%d", v.Seqnum, base32.Encode(v.Root[:])[:4], num)] = servers
		}
	}
	c.SI, c.Summary, c.names = r.SI.String(), r.Summary(), map[string]string{}
	for _, s := range r.Corrupt {
		n.Corrupt = append(n.Corrupt, [3]any{s.Server, c.SI, int(s.Num)})
	}
	for _, s := range r.Servers {
		c.names[s.ID] = clean(s.Name)
	}
	return c.with(n, r.Healthy(), recoverable)
}

func (c *checked) with(n checkCounts, healthy, recoverable bool) *checked {
	n.CorruptCount = len(n.Corrupt)
	if n.Corrupt == nil {
		n.Corrupt = [][3]any{}
	}
	if n.Responding == nil {
		n.Responding = []string{}
	}
	c.Results = checkResults{checkCounts: &n, Healthy: healthy, Recoverable: &recoverable}
	return c
}

// checkPage shows a check to people.
type checkPage struct {
	Words, SI, Summary   string
	Healthy, Recoverable bool
	Literal              bool
	Counts               []figure
	Shares               []shareRow
	Corrupt              []shareRow
	Repaired             bool
	Failure              string // of a repair
	Before               string // a repair; "": there was none
	Troubles             []trouble
}

type shareRow struct{ Num, Servers string }

func (c *checked) page() checkPage {
	p := checkPage{Words: c.words, SI: c.SI, Summary: c.Summary, Healthy: c.Results.Healthy, Literal: c.Results.checkCounts == nil}
	if p.Literal {
		return p
	}
	n := c.Results.checkCounts
	p.Recoverable = *c.Results.Recoverable
	for _, f := range []struct {
		name  string
		value int
	}{
		{"Good shares", n.Good}, {"Shares needed to read it", n.Needed}, {"Shares there should be", n.Expected},
		{"Servers with good shares", n.Hosts}, {"Servers of happiness", n.Happiness}, {"Servers that answered", len(n.Responding)},
		{"Damaged shares", n.CorruptCount}, {"Shares of other versions", n.Wrong},
	} {
		p.Counts = append(p.Counts, figure{f.name, fmt.Sprint(f.value)})
	}
	for _, num := range slices.SortedFunc(maps.Keys(n.Sharemap), byNumber) {
		p.Shares = append(p.Shares, shareRow{num, c.named(n.Sharemap[num]...)})
	}
	for _, s := range n.Corrupt {
		p.Corrupt = append(p.Corrupt, shareRow{fmt.Sprint(s[2]), c.named(s[0].(string))})
	}
	return p
}

// byNumber sorts 2 before 10.
func byNumber(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }

// named puts servers into words.
func (c *checked) named(ids ...string) string {
	var list []string
	for _, id := range ids {
		if name := c.names[id]; name != "" {
			id = name
		}
		list = append(list, id)
	}
	return strings.Join(list, ", ")
}
