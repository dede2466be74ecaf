package webapi

import (
	"errors"
	"fmt"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/network/foolscap"
)

// introducerView is what the welcome page shows of an introducer.
type introducerView struct {
	Petname   string
	TubID     string
	State     foolscap.State
	Words     string // as the Python gateway puts it
	Address   string // kind of the address in use: "onion", "tor", "tcp"
	Version   string
	Reason    string // why it is of no use now
	Since     time.Time
	LastHeard time.Time
	RetryAt   time.Time
	Servers   int // that it has announced
	Cached    int // of them only by the cache
	Published introducer.PublishStatus
	Dropped   []introducer.Event
	DroppedN  int64
	CacheErr  string
}

// Connected reports whether the introducer answers.
func (v introducerView) Connected() bool { return v.State == foolscap.Connected }

// Class is the state as a word for the style sheet.
func (v introducerView) Class() string {
	switch {
	case v.Connected() && v.Reason == "":
		return "ok"
	case v.State == foolscap.Connecting, v.Connected():
		return "waiting"
	}
	return "failed"
}

func (h *Handler) introducers() []introducerView {
	if h.c.Introducers == nil {
		return nil
	}
	var out []introducerView
	for _, s := range h.c.Introducers() {
		c := s.Connection
		v := introducerView{
			Petname: clean(s.Petname), TubID: s.TubID, State: c.State, Version: clean(s.Version), Since: c.Since, LastHeard: c.LastHeard,
			Servers: len(s.Known), Published: s.Published, DroppedN: s.DroppedTotal,
		}
		v.Words = connectionWords(c, h.c.Now())
		if v.Connected() {
			v.Address = hintKind(c.Hint)
		} else {
			v.RetryAt = c.Next
		}
		switch {
		case v.Connected() && s.Problem != nil:
			v.Reason = clean(s.Problem.Error())
		case !v.Connected() && c.LastErr != nil:
			v.Reason = clean(c.LastErr.Error())
		}
		if v.Published.Err != nil {
			v.Published.Err = errors.New(clean(v.Published.Err.Error()))
		}
		if s.CacheErr != nil {
			v.CacheErr = clean(s.CacheErr.Error())
		}
		for _, k := range s.Known {
			if k.Cached {
				v.Cached++
			}
		}
		for _, e := range s.Dropped {
			v.Dropped = append(v.Dropped, cleanEvent(e))
		}
		out = append(out, v)
	}
	return out
}

func cleanEvent(e introducer.Event) introducer.Event {
	e.Key, e.Service, e.Nickname, e.Why = clean(e.Key), clean(e.Service), clean(e.Nickname), clean(e.Why)
	return e
}

// connectionWords say how a Foolscap connection stands, in the Python
// gateway's words.
func connectionWords(c foolscap.Status, now time.Time) string {
	switch c.State {
	case foolscap.Connected:
		if c.Inbound || c.Hint == "" {
			return "Connected via listener (negotiated)"
		}
		return fmt.Sprintf("Connected to %s via %s", clean(c.Hint), carrierOf(c.Hint))
	case foolscap.Waiting:
		return fmt.Sprintf("Reconnecting in %d seconds (last attempt %ds ago)", int(max(0, c.Next.Sub(now)).Seconds()), int(max(0, now.Sub(c.Since)).Seconds()))
	case foolscap.Connecting:
		return "Trying to connect"
	}
	return "unstarted"
}

// hintKind is the kind of address that a hint of a fURL is.
func hintKind(hint string) string {
	h, err := furl.ParseHint(hint)
	switch {
	case err != nil:
		return ""
	case furl.IsOnion(h.Host):
		return "onion"
	}
	return string(h.Kind)
}

func carrierOf(hint string) string {
	if k := hintKind(hint); k != "onion" && k != "" {
		return k
	}
	return "tor"
}

// introducersJSON has the statuses of the Python gateway, then ours.
func introducersJSON(views []introducerView) map[string]any {
	statuses, details := []string{}, []map[string]any{}
	for _, v := range views {
		statuses = append(statuses, v.Words)
		dropped := []map[string]any{}
		for _, e := range v.Dropped {
			dropped = append(dropped, eventJSON(e))
		}
		d := map[string]any{
			"petname": v.Petname, "tub_id": v.TubID, "state": v.State, "connection_status": v.Words, "address": v.Address,
			"version": orNull(v.Version, v.Version != ""), "reason": v.Reason, "since": timeOrNull(v.Since), "last_received_data": timeOrNull(v.LastHeard),
			"retry_at": timeOrNull(v.RetryAt), "servers": v.Servers, "cached": v.Cached, "dropped": dropped, "dropped_total": v.DroppedN, "cache_problem": v.CacheErr,
			"published": nil,
		}
		if p := v.Published; p.Seqnum != 0 {
			d["published"] = map[string]any{"seqnum": p.Seqnum, "sent": timeOrNull(p.Sent), "error": errorText(p.Err), "newer_seqnum": orNull(p.Newer, p.Newer != 0)}
		}
		details = append(details, d)
	}
	return map[string]any{"statuses": statuses, "details": details}
}

func eventJSON(e introducer.Event) map[string]any {
	return map[string]any{"at": timeOrNull(e.At), "peer": e.Peer, "key": e.Key, "service": e.Service, "nickname": e.Nickname, "why": e.Why, "times": e.Times}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return clean(err.Error())
}

// whyTrusted maps the sources of servers, and their ids, to why an
// announcement is believed.
func (h *Handler) whyTrusted() map[[2]string]string {
	why := map[[2]string]string{}
	if h.c.Introducers == nil {
		return why
	}
	for _, s := range h.c.Introducers() {
		for _, k := range s.Known {
			why[[2]string{s.Petname, k.ID}] = k.Why
		}
	}
	return why
}
