package webapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
)

// checker checks immutable files. *immutable.Client does.
type checker interface {
	Check(ctx context.Context, c caps.CHKVerifier, o immutable.CheckOptions, tr *immutable.Trace) (*immutable.CheckResult, error)
}

var _ checker = (*immutable.Client)(nil)

// checked is a check's result, as JSON has it.
type checked struct {
	SI      string       `json:"storage-index"` // "": the object is in its cap
	Summary string       `json:"summary,omitempty"`
	Results checkResults `json:"results"`

	words string
	names map[string]string // of servers
}

// checkResults are the figures, nil for an object that is in its cap.
type checkResults struct {
	*checkCounts
	Healthy     bool  `json:"healthy"`
	Recoverable *bool `json:"recoverable,omitempty"`
}

type checkCounts struct {
	Happiness     int              `json:"count-happiness"`
	Good          int              `json:"count-shares-good"`
	Needed        int              `json:"count-shares-needed"`
	Expected      int              `json:"count-shares-expected"`
	Hosts         int              `json:"count-good-share-hosts"`
	CorruptCount  int              `json:"count-corrupt-shares"`
	Corrupt       [][3]any         `json:"list-corrupt-shares"` // server, storage index, share
	Responding    []string         `json:"servers-responding"`
	Sharemap      map[int][]string `json:"sharemap"`
	Wrong         int              `json:"count-wrong-shares"`
	Recoverable   int              `json:"count-recoverable-versions"`
	Unrecoverable int              `json:"count-unrecoverable-versions"`
}

// postCheck answers t=check.
func (h *Handler) postCheck(q *request, root caps.Cap, names []string) error {
	o := immutable.CheckOptions{}
	var err error
	if o.Verify, err = q.flag("verify"); err != nil {
		return err
	}
	if o.AddLease, err = q.flag("add-lease"); err != nil {
		return err
	}
	if repair, err := q.flag("repair"); err != nil {
		return err
	} else if repair {
		return notYet("Repairs")
	}
	t, err := h.reach(q, root, names)
	if err != nil {
		return err
	}
	c, err := h.checkObject(q, t.cap(), o)
	if err != nil {
		return err
	}
	if q.arg("when_done") != "" {
		return q.done(http.StatusOK, "")
	}
	if strings.EqualFold(q.arg("output"), "json") {
		return q.json("text/plain", c)
	}
	return h.render(q, http.StatusOK, "check.html", c.page())
}

// checkObject asks servers how an object is.
func (h *Handler) checkObject(q *request, c caps.Cap, o immutable.CheckOptions) (*checked, error) {
	if c == nil || typeOf(c) == unknownType {
		return nil, errUnknownCap
	}
	v, ok := caps.Verifier(c)
	if !ok { // it is in its cap
		return &checked{words: kindWords(c), Results: checkResults{Healthy: true}}, nil
	}
	file := v
	if d, ok := v.(caps.Dir); ok {
		file = d.File()
	}
	chk, ok := file.(caps.CHKVerifier)
	files, can := h.c.Files.(checker)
	if !ok || !can {
		return nil, notYet("Checks of mutable files and directories")
	}
	op := h.ops.begin(checking, q.operationID(), waiting, -1)
	defer op.end(errFault) // if nothing else has
	op.object(c)
	h.c.Grid.Wait(q.r.Context(), h.c.N)
	op.enter(asking)
	r, err := files.Check(q.r.Context(), chk, o, op.trace())
	op.end(err)
	if err != nil {
		return nil, err
	}
	return h.checkedFile(c, r), nil
}

// checkedFile is what a check of an immutable file found.
func (h *Handler) checkedFile(c caps.Cap, r *immutable.CheckResult) *checked {
	si := r.Cap.Index.String()
	n := checkCounts{Happiness: r.Happy(), Good: r.Good(), Needed: r.Cap.K, Expected: r.Cap.N, Hosts: r.Hosts(), CorruptCount: len(r.Corrupt),
		Corrupt: [][3]any{}, Responding: append([]string{}, r.Responding()...), Sharemap: map[int][]string{}, Recoverable: 1}
	if !r.Recoverable() {
		n.Recoverable, n.Unrecoverable = 0, 1
	}
	for _, s := range r.Corrupt {
		n.Corrupt = append(n.Corrupt, [3]any{s.Server, si, int(s.Num)})
	}
	for num, servers := range r.Sharemap {
		n.Sharemap[int(num)] = servers
	}
	good := r.Recoverable()
	out := &checked{SI: si, Summary: r.Summary(), words: kindWords(c), names: map[string]string{},
		Results: checkResults{checkCounts: &n, Healthy: r.Healthy(), Recoverable: &good}}
	for _, s := range r.Servers {
		out.names[s.ID] = clean(s.Name)
	}
	return out
}

// checkPage shows a check to people.
type checkPage struct {
	Words, SI, Summary   string
	Healthy, Recoverable bool
	Literal              bool
	Counts               []figure
	Shares               []shareRow
	Corrupt              []shareRow
}

type shareRow struct {
	Num     int
	Servers string
}

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
		{"Damaged shares", n.CorruptCount},
	} {
		p.Counts = append(p.Counts, figure{f.name, fmt.Sprint(f.value)})
	}
	for num := range n.Expected {
		if servers := n.Sharemap[num]; len(servers) > 0 {
			p.Shares = append(p.Shares, shareRow{num, c.named(servers...)})
		}
	}
	for _, s := range n.Corrupt {
		p.Corrupt = append(p.Corrupt, shareRow{s[2].(int), c.named(s[0].(string))})
	}
	return p
}

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
