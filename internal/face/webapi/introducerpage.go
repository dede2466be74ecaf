package webapi

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/kit/version"
)

// IntroducerConfig is what the page of an introducer node shows.
type IntroducerConfig struct {
	Status           func() introducer.ServerStatus // required
	Nickname, NodeID string
	Ladder           func() []Rung // nil: nothing stands in the way
	Hosts            []string      // as in Config
	Now              func() time.Time
	Log              *slog.Logger
}

// NewIntroducer returns the pages of an introducer node: / as HTML and JSON,
// and nothing else. Use it with Serve.
func NewIntroducer(c IntroducerConfig) *Handler {
	if c.Status == nil {
		panic("webapi: internal error: IntroducerConfig.Status is nil")
	}
	h := newHandler(Config{Nickname: c.Nickname, NodeID: c.NodeID, Ladder: c.Ladder, Hosts: c.Hosts, Now: c.Now, Log: c.Log})
	h.introducer = c.Status
	return h
}

// introducerOverview is what the page shows.
type introducerOverview struct {
	Nickname, NodeID, Version string
	Ladder                    []Rung
	introducer.ServerStatus
	Announced, Subscribed []serviceCount
	Problem               string // why the memory is not on disk
	Now                   time.Time
}

type serviceCount struct {
	Service string
	Count   int
}

func (h *Handler) introducerPage(q *request) error {
	if len(q.path) != 1 || q.path[0] != "" {
		return errNoPage
	}
	o := h.introducerOverview()
	switch q.t() {
	case "", "html":
		return h.render(q, http.StatusOK, "introducer.html", o)
	case "json":
		return q.json("application/json", o.json())
	}
	return errUnknownT
}

func (h *Handler) introducerOverview() introducerOverview {
	o := introducerOverview{
		Nickname: clean(h.c.Nickname), NodeID: h.c.NodeID, Version: version.Application, Ladder: h.ladder(),
		ServerStatus: h.introducer(), Now: h.c.Now(),
	}
	if o.SaveErr != nil {
		o.Problem = clean(o.SaveErr.Error())
	}
	announced, subscribed := map[string]int{}, map[string]int{}
	for i := range o.Announcements {
		a := &o.Announcements[i]
		a.Service, a.Nickname, a.Version = clean(a.Service), clean(a.Nickname), clean(a.Version)
		for j := range a.Hints {
			a.Hints[j] = clean(a.Hints[j])
		}
		announced[a.Service]++
	}
	for i := range o.Subscribers {
		s := &o.Subscribers[i]
		s.Service, s.Nickname, s.Version, s.Hint = clean(s.Service), clean(s.Nickname), clean(s.Version), clean(s.Hint)
		subscribed[s.Service]++
	}
	for _, events := range [][]introducer.Event{o.Dropped, o.Refused} {
		for i := range events {
			events[i] = cleanEvent(events[i])
		}
		slices.Reverse(events) // the last one first
	}
	o.Announced, o.Subscribed = counts(announced), counts(subscribed)
	return o
}

func counts(m map[string]int) []serviceCount {
	var out []serviceCount
	for service, n := range m {
		out = append(out, serviceCount{service, n})
	}
	slices.SortFunc(out, func(a, b serviceCount) int { return strings.Compare(a.Service, b.Service) })
	return out
}

// json has the two fields of the Python introducer first, then ours.
func (o introducerOverview) json() map[string]any {
	summary := func(counts []serviceCount) map[string]int {
		m := map[string]int{}
		for _, c := range counts {
			m[c.Service] = c.Count
		}
		return m
	}
	services, clients := []map[string]any{}, []map[string]any{}
	for _, a := range o.Announcements {
		services = append(services, map[string]any{
			"service": a.Service, "key": a.Key, "nickname": a.Nickname, "version": a.Version, "tub_id": a.TubID, "hints": orEmpty(a.Hints), "seqnum": a.Seqnum,
			"announced": timeOrNull(a.First), "connected": a.Connected, "last_seen": timeOrNull(a.LastSeen), "absent": a.Absent.Seconds(),
		})
	}
	for _, s := range o.Subscribers {
		clients = append(clients, map[string]any{
			"service": s.Service, "tub_id": s.TubID, "nickname": s.Nickname, "version": s.Version, "hint": s.Hint, "since": timeOrNull(s.Since),
		})
	}
	events := func(list []introducer.Event) []map[string]any {
		out := []map[string]any{}
		for _, e := range list {
			out = append(out, eventJSON(e))
		}
		return out
	}
	return map[string]any{
		"subscription_summary": summary(o.Subscribed), "announcement_summary": summary(o.Announced),
		"services": services, "clients": clients,
		"dropped": events(o.Dropped), "dropped_total": o.DroppedTotal, "refused": events(o.Refused), "refused_total": o.RefusedTotal,
		"problem": o.Problem, "nickname": o.Nickname, "node_id": o.NodeID, "version": o.Version, "ladder": o.Ladder,
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
