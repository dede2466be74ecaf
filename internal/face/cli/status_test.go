package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"tahoe-go/internal/face/webapi"
	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/network/netx"
)

// at serves pages on loopback and returns their URL.
func at(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Shutdown(context.Background()); <-done })
	return "http://" + l.Addr().String() + "/"
}

func TestStatusOfGrid(t *testing.T) {
	const welcome = `{"introducers": {"statuses": ["Connected to tor:x.onion:1 via tor"], "details": [
		{"petname": "default", "tub_id": "abc", "state": "connected", "address": "onion", "version": "tahoe-go/9", "servers": 2, "cached": 1, "dropped_total": 3,
		 "last_received_data": 1000, "published": {"seqnum": 7, "sent": 1000, "error": ""}},
		{"petname": "friends", "state": "waiting", "reason": "refused", "servers": 1}]},
		"servers": [{"nodeid": "v0-aaa", "nickname": "ann", "state": "connected", "address": "onion", "protocol": "Foolscap", "available_space": 1048576, "why_foolscap": "no NURL",
		 "version": "tahoe-lafs/1.20", "sources": [{"name": "default", "seqnum": 7, "used": true, "why": "used; trusted: signed"}]}],
		"ready": true, "nickname": "me", "version": "tahoe-go/9", "encoding": {"needed": 3, "happy": 7, "total": 10}}`
	url := at(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Write([]byte(welcome))
		} else {
			w.Write([]byte(`{"active": [], "recent": []}`))
		}
	}))
	code, out, stderr := tahoe(t, nil, "", "status", "-v", "-u", url)
	if code != exitOK {
		t.Fatalf("status: %d %s", code, stderr)
	}
	for _, want := range []string{
		"Introducers\n  default  connected  onion  2 servers (1 from the cache)  heard ",
		"this server is announced  3 announcements dropped  abc",
		"  friends  waiting           1 server                      not heard yet           refused",
		"  ann  connected  onion  Foolscap  1.0 MiB free  not heard yet  v0-aaa  tahoe-lafs/1.20",
		"  ann is known from\n    default, announcement 7: used; trusted: signed\n    and reached by Foolscap, not the HTTP protocol: no NURL\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	code, out, _ = tahoe(t, nil, "", "status", "--json", "-u", url)
	var j struct {
		Node struct {
			Introducers struct {
				Details []struct{ Petname, State string }
			}
			Servers []struct {
				Protocol string
				Sources  []struct{ Why string }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &j); code != exitOK || err != nil || len(j.Node.Introducers.Details) != 2 || j.Node.Servers[0].Protocol != "Foolscap" || j.Node.Servers[0].Sources[0].Why == "" {
		t.Errorf("%d, %v: %s", code, err, out)
	}
}

func TestStatusOfIntroducer(t *testing.T) {
	h := webapi.NewIntroducer(webapi.IntroducerConfig{Nickname: "meeting point", Status: func() introducer.ServerStatus {
		return introducer.ServerStatus{
			Announcements: []introducer.PublishedStatus{{Service: "storage", Key: "v0-aaa", Nickname: "ann", Connected: true}, {Service: "storage", Key: "v0-bbbbbbbbbbbbbbb"}},
		}
	}})
	code, out, stderr := tahoe(t, nil, "", "status", "-u", at(t, h))
	want := "  announced: storage: 2\n  subscribed: nothing\n\nAnnounced\n  ann             storage  connected\n  v0-bbbbbbbbbb…  storage  away, not heard yet\n"
	if code != exitOK || !strings.HasPrefix(out, "meeting point, ") || !strings.HasSuffix(out, want) {
		t.Errorf("%d %s\n%s", code, stderr, out)
	}
}
