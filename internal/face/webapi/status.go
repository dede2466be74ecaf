package webapi

import (
	"net/http"
	"slices"
	"time"

	"tahoe-go/internal/grid"
)

// status answers at /status: what is going on and what went on.
func (h *Handler) status(q *request) error {
	names := map[string]string{}
	for _, s := range h.c.Grid.Status() {
		names[s.ID] = s.Name
	}
	active, recent := h.ops.views(q.arg("operation"), names)
	switch q.t() {
	case "", "html":
		return h.render(q, http.StatusOK, "status.html", statusPage{active, recent})
	case "json":
		return q.json("application/json", map[string]any{"active": active, "recent": recent})
	}
	return errUnknownT
}

type statusPage struct{ Active, Recent []opView }

// Began, Took and Percent are for pages.
func (v opView) Began() time.Time { return v.began }

// Took is how long the operation took, or has taken.
func (v opView) Took() time.Duration {
	if v.over.IsZero() {
		return time.Since(v.began).Round(100 * time.Millisecond)
	}
	return v.over.Sub(v.began).Round(time.Millisecond)
}

// Percent is the progress of the present stage, or -1.
func (v opView) Percent() int {
	if v.TotalSize == nil || v.Finished != nil || v.Stage == waiting || v.Type == publish && v.Stage == sending {
		return -1
	}
	return int(100 * fraction(v.Done, *v.TotalSize))
}

// Size is that of the file, or -1.
func (v opView) Size() int64 {
	if v.TotalSize == nil {
		return -1
	}
	return *v.TotalSize
}

// welcome answers at /.
func (h *Handler) welcome(q *request) error {
	switch q.t() {
	case "", "html":
		return h.render(q, http.StatusOK, "welcome.html", h.overview())
	case "json":
		return q.json("application/json", h.welcomeJSON())
	}
	return errUnknownT
}

// welcomeJSON has the fields of the Python gateway first, then ours.
func (h *Handler) welcomeJSON() any {
	o := h.overview()
	servers := []map[string]any{}
	for _, s := range o.Servers {
		servers = append(servers, map[string]any{
			"nodeid": s.ID, "nickname": s.Name, "connection_status": s.Words(),
			"available_space": orNull(s.Version.AvailableSpace, s.State == grid.Connected && s.Version.AvailableSpace > 0),
			"version":         orNull(s.Version.Application, s.Version.Application != ""),
			// when a byte last came from it
			"last_received_data": timeOrNull(s.LastContact),

			"state": s.State, "address": s.Address, "protocol": s.Protocol, "source": s.Source,
			"reason": s.Reason, "since": timeOrNull(s.Since), "retry_at": timeOrNull(s.RetryAt),
			"why_foolscap": s.GBS, "why_no_new_shares": s.Barred, "tub_id": s.TubID, "announced_version": orNull(s.Announced, s.Announced != ""), "sources": s.sourcesJSON(),
		})
	}
	return map[string]any{
		"introducers": introducersJSON(o.Introducers),
		"servers":     servers,
		"ready":       o.Ready, "summary": o.Summary, "ladder": o.Ladder,
		"nickname": o.Nickname, "node_id": o.NodeID, "version": o.Version,
		"encoding": map[string]int{"needed": h.c.K, "happy": h.c.Happy, "total": h.c.N},
	}
}

func orNull[T any](v T, ok bool) any {
	if ok {
		return v
	}
	return nil
}

func timeOrNull(t time.Time) any { return orNull(seconds(t), !t.IsZero()) }

// serverView is a server's status, fit to be shown.
type serverView struct{ grid.Status }

func (s serverView) sourcesJSON() []map[string]any {
	out := []map[string]any{}
	for _, src := range s.Sources {
		out = append(out, map[string]any{"name": src.Name, "seqnum": orNull(src.Seqnum, src.Seqnum != 0), "heard": timeOrNull(src.Heard), "used": src.Used, "why": src.Why})
	}
	return out
}

// barred reports whether it is given no new shares.
func (s serverView) barred() bool { return s.Barred != "" }

// Words say how the connection stands, in a line.
func (s serverView) Words() string {
	switch s.State {
	case grid.Connected:
		return "Connected via " + s.Address
	case grid.Connecting:
		return "Trying to connect"
	}
	if s.Reason == "" {
		return "Not connected"
	}
	return "Not connected: " + s.Reason
}

// Class is the state as a word for the style sheet.
func (s serverView) Class() string {
	switch s.State {
	case grid.Connected:
		return "ok"
	case grid.Connecting:
		return "waiting"
	}
	return "failed"
}

func (h *Handler) servers() []serverView {
	var out []serverView
	trusted := h.whyTrusted()
	for _, s := range h.c.Grid.Status() {
		s.Sources = slices.Clone(s.Sources)
		for i := range s.Sources {
			src := &s.Sources[i]
			if why := trusted[[2]string{src.Name, s.ID}]; why != "" && !src.Static {
				src.Why += "; trusted: " + why
			}
			src.Name, src.Why = clean(src.Name), clean(src.Why)
		}
		s.Name, s.Reason, s.Version.Application = clean(s.Name), clean(s.Reason), clean(s.Version.Application)
		s.GBS, s.Announced, s.Source = clean(s.GBS), clean(s.Announced), clean(s.Source)
		out = append(out, serverView{s})
	}
	return out
}

// connected counts the servers that answer.
func connected(servers []serverView) int {
	n := 0
	for _, s := range servers {
		if s.State == grid.Connected {
			n++
		}
	}
	return n
}

// hindrance is the first rung of the ladder that does not stand.
func hindrance(ladder []Rung) string {
	// A node that cannot be locked down stores files all the same.
	i := slices.IndexFunc(ladder, func(r Rung) bool { return r.Name != "lockdown" && (r.State == "failed" || r.State == "waiting") })
	if i < 0 {
		return ""
	}
	return ladder[i].Text
}
