package webapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/network/foolscap"
)

const introducerTub = "zznbwkuaspu22s353xxkhi2feeeobore"

// introduced is a node with two introducers, one of which answers.
func introduced() []introducer.ClientStatus {
	now := time.Now()
	return []introducer.ClientStatus{
		{
			Petname: "default", TubID: introducerTub, Version: "tahoe-lafs/1.20.0", Subscribed: true,
			Connection:   foolscap.Status{State: foolscap.Connected, Since: now, Hint: "tcp:192.0.2.1:3457", LastHeard: now},
			Known:        []introducer.KnownStatus{{ID: "v0-server00", Why: "signed by its key, which is new here"}, {ID: "v0-server01", Cached: true, Why: "from the cache"}},
			Dropped:      []introducer.Event{{At: now, Key: "v0-evil", Nickname: "mallory", Service: "storage", Why: "bad signature", Times: 3}},
			DroppedTotal: 3,
			Published:    introducer.PublishStatus{Seqnum: 7, Sent: now},
		},
		{
			Petname: "friends", TubID: introducerTub,
			Connection: foolscap.Status{State: foolscap.Waiting, Since: now, Next: now.Add(90 * time.Second), Failures: 2, LastErr: errors.New("connection refused")},
		},
	}
}

// What Python's tools read, and what is ours.
func TestWelcomeJSON(t *testing.T) {
	g := newGateway(t, 2, func(c *Config) { c.Introducers = introduced })
	g.grid.mu.Lock()
	g.grid.status[0].Source, g.grid.status[0].Protocol, g.grid.status[0].GBS = "default", grid.Foolscap, "it announces no address for it"
	g.grid.status[0].Sources = []grid.SourceStatus{{Name: "default", Seqnum: 3, Heard: time.Now(), Used: true, Why: "used"}}
	g.grid.status[1].State, g.grid.status[1].Reason, g.grid.status[1].Version.Application = grid.Disconnected, "no route", ""
	g.grid.mu.Unlock()
	_, body := g.do(t, g.request(t, t.Context(), "GET", "/?t=json", nil))
	var w struct {
		Introducers struct {
			Statuses []string
			Details  []map[string]any
		}
		Servers []map[string]any
	}
	if err := json.Unmarshal([]byte(body), &w); err != nil {
		t.Fatal(err)
	}
	if len(w.Introducers.Statuses) != 2 || w.Introducers.Statuses[0] != "Connected to tcp:192.0.2.1:3457 via tcp" ||
		!strings.HasPrefix(w.Introducers.Statuses[1], "Reconnecting in ") || !strings.Contains(w.Introducers.Statuses[1], "seconds (last attempt 0s ago)") {
		t.Errorf("statuses %q", w.Introducers.Statuses)
	}
	one, other := w.Servers[0], w.Servers[1]
	for _, key := range []string{"nodeid", "connection_status", "available_space", "nickname", "version", "last_received_data"} {
		if _, ok := one[key]; !ok {
			t.Errorf("a server has no %s", key)
		}
	}
	if s, _ := one["connection_status"].(string); !strings.HasPrefix(s, "Connected") {
		t.Errorf("connection_status %q", s)
	}
	if one["version"] != "tahoe-go/0.1" || one["protocol"] != "Foolscap" || one["why_foolscap"] != "it announces no address for it" {
		t.Errorf("server %v", one)
	}
	src := one["sources"].([]any)[0].(map[string]any)
	if src["why"] != "used; trusted: signed by its key, which is new here" || src["seqnum"] != 3.0 {
		t.Errorf("source %v", src)
	}
	if s, _ := other["connection_status"].(string); strings.HasPrefix(s, "Connected") || other["version"] != nil || other["available_space"] != nil {
		t.Errorf("server %v", other)
	}
	d := w.Introducers.Details
	if d[0]["petname"] != "default" || d[0]["address"] != "tcp" || d[0]["cached"] != 1.0 || d[1]["reason"] != "connection refused" || d[1]["version"] != nil {
		t.Errorf("details %v", d)
	}
}

func TestWelcomeShowsIntroducers(t *testing.T) {
	g := newGateway(t, 2, func(c *Config) { c.Introducers = introduced })
	_, body := g.do(t, g.request(t, t.Context(), "GET", "/", nil))
	for _, want := range []string{"Introducers: 1 of 2 connected", "friends", "connection refused", "3 announcements dropped", "bad signature (3 times)", "this server is announced, number 7"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	save(t, "welcome", body)
}

// save writes a page where a person or a browser can look at it.
func save(t *testing.T, name, page string) {
	t.Helper()
	if dir := os.Getenv("WEBAPI_PAGES"); dir != "" {
		if err := os.WriteFile(dir+"/"+name+".html", []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// introducing is what an introducer knows.
func introducing(evil string) introducer.ServerStatus {
	now := time.Now()
	return introducer.ServerStatus{
		Announcements: []introducer.PublishedStatus{
			{Service: "storage", Key: "v0-aaa", Nickname: "alice" + evil, Version: "tahoe-lafs/1.20.0" + evil, TubID: introducerTub, Hints: []string{"tcp:192.0.2.1:1" + evil}, Seqnum: 4, First: now, Connected: true, LastSeen: now},
			{Service: "storage", Key: "v0-bbb", Nickname: "", Seqnum: 1, First: now.Add(-48 * time.Hour), LastSeen: now.Add(-30 * time.Hour), Absent: 30 * time.Hour},
			{Service: "other" + evil, Key: "v0-ccc", Nickname: "carol", First: now, Connected: true, LastSeen: now},
		},
		Subscribers:  []introducer.SubscriberStatus{{Service: "storage", TubID: introducerTub, Nickname: "bob" + evil, Version: "tahoe-go/0.2" + evil, Since: now}},
		Dropped:      []introducer.Event{{At: now, Key: "v0-ddd", Service: "storage", Nickname: "dora", Why: "its publisher has been away for 30 days", Times: 1}},
		DroppedTotal: 1,
		Refused:      []introducer.Event{{At: now, Key: evil, Nickname: evil, Why: "signature does not match" + evil, Times: 12}},
		RefusedTotal: 12,
		SaveErr:      errors.New("disk full" + evil),
	}
}

func introducerPages(t *testing.T, evil string) func(method, path string) (*http.Response, string) {
	var log bytes.Buffer
	h := NewIntroducer(IntroducerConfig{
		Status: func() introducer.ServerStatus { return introducing(evil) }, Nickname: "the introducer" + evil, NodeID: introducerTub,
		Ladder: func() []Rung {
			return []Rung{{Name: "published", State: "ok", Text: "its onion service is published" + evil}}
		},
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return func(method, path string) (*http.Response, string) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		resp := w.Result()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "panic") {
			t.Errorf("log: %s", &log)
		}
		return resp, string(body)
	}
}

func TestIntroducerPage(t *testing.T) {
	get := introducerPages(t, "")
	resp, body := get("GET", "/")
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("status %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	for _, want := range []string{"the introducer", "Announced: other: 1, storage: 2", "Subscribed: storage: 1", "alice", "tcp:192.0.2.1:1", "away", "bob", "disk full",
		"Dropped: 1", "away for 30 days", "Refused: 12", "(12 times)", "its onion service is published"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	save(t, "introducer", body)

	_, body = get("GET", "/?t=json")
	var j map[string]any
	if err := json.Unmarshal([]byte(body), &j); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"subscription_summary": `{"storage":1}`, "announcement_summary": `{"other":1,"storage":2}`} {
		if got, _ := json.Marshal(j[key]); string(got) != want {
			t.Errorf("%s = %s, want %s", key, got, want)
		}
	}
	if len(j["services"].([]any)) != 3 || len(j["clients"].([]any)) != 1 || j["refused_total"] != 12.0 {
		t.Errorf("%s", body)
	}
	for path, want := range map[string]int{"/?t=nonsense": 400, "/uri": 404, "/status": 404, "/uri/URI:LIT:nbswy3dp": 404, "/x/": 404} {
		if resp, _ := get("GET", path); resp.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if resp, _ := get("POST", "/"); resp.StatusCode != 200 { // as the gateway
		t.Errorf("POST /: %d", resp.StatusCode)
	}
}

// Everything but the page's own words comes from strangers.
func TestIntroducerPageHostile(t *testing.T) {
	const evil = "<script>alert(1)</script>\"'\x1b[2J\u202e{{.}}"
	get := introducerPages(t, evil)
	for _, path := range []string{"/", "/?t=json"} {
		resp, body := get("GET", path)
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && strings.Contains(body, "<script") {
			t.Errorf("%s has a script", path)
		}
		if strings.ContainsAny(body, "\x1b\u202e") {
			t.Errorf("%s has control characters", path)
		}
	}
	g := newGateway(t, 2, func(c *Config) {
		c.Introducers = func() []introducer.ClientStatus {
			all := introduced()
			for i := range all {
				all[i].Petname, all[i].Version, all[i].Problem, all[i].CacheErr = evil, evil, errors.New(evil), errors.New(evil)
				all[i].Connection.Hint, all[i].Connection.LastErr = "tcp:"+evil+":1", errors.New(evil)
				all[i].Published.Err = errors.New(evil)
				for j := range all[i].Dropped {
					all[i].Dropped[j] = introducer.Event{Key: evil, Nickname: evil, Service: evil, Why: evil}
				}
			}
			return all
		}
	})
	for _, path := range []string{"/", "/?t=json"} {
		resp, body := g.do(t, g.request(t, context.Background(), "GET", path, nil))
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && strings.Contains(body, "<script") || strings.ContainsAny(body, "\x1b\u202e") {
			t.Errorf("%s shows what strangers sent: %s", path, body)
		}
	}
}

// A server that no grid manager vouches for does not make the gateway ready,
// and the pages say why. A source by hand that is called as an introducer is no
// matter of trust.
func TestWelcomeShowsGridManagers(t *testing.T) {
	g := newGateway(t, 2, func(c *Config) { c.Introducers, c.Happy = introduced, 2 })
	g.grid.mu.Lock()
	g.grid.status[0].Barred = "its certificate has expired"
	g.grid.status[0].Sources = []grid.SourceStatus{{Name: "default", Static: true, Used: true, Why: "used"}}
	g.grid.mu.Unlock()
	_, body := g.do(t, g.request(t, t.Context(), "GET", "/", nil))
	for _, want := range []string{"no new shares: its certificate has expired", "2 of 2 storage servers connected, of which 1 get no new shares, as no grid manager vouches for them; 2 are needed"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	if strings.Contains(body, "trusted: ") {
		t.Error("what was entered by hand is trusted because an introducer said it")
	}
	_, body = g.do(t, g.request(t, t.Context(), "GET", "/?t=json", nil))
	var w struct {
		Ready   bool
		Servers []map[string]any
	}
	if err := json.Unmarshal([]byte(body), &w); err != nil {
		t.Fatal(err)
	}
	if w.Ready || w.Servers[0]["why_no_new_shares"] != "its certificate has expired" || w.Servers[1]["why_no_new_shares"] != "" {
		t.Errorf("%+v", w)
	}
}
