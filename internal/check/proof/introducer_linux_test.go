package proof

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// byIntroducer is a grid that meets at an introducer which is an onion service
// itself: two servers announce themselves there, and two clients hear of them,
// one of which speaks Foolscap only. The introducer is started again in between.
func (g *grid) byIntroducer(t *testing.T) {
	launch := []string{"--hide-ip", "--tor-launch", "--tor-executable=" + g.path("tor")}
	make := func(name string, args ...string) *node {
		t.Helper()
		g.must(t, append(append(args, launch...), g.path(name))...)
		return &node{name: name}
	}
	hub := g.run(t, make("hub", "create-introducer", "--listen=tor", "--webport=tcp:0:interface=127.0.0.1"))
	hub.wait(t, " published at ")
	known := "--introducer=" + filepath.Join(hub.dir, "private", "introducer.furl")
	for i := range 2 {
		name := fmt.Sprintf("met%d", i+1)
		server := g.run(t, make(name, "create-node", "--listen=tor", "--webport=none", "--nickname="+name, known))
		server.wait(t, " published at ")
		g.onions = append(g.onions, server)
	}
	data := content(300_000)
	cap := ""
	var last *node
	for _, protocol := range []string{"GBS", "Foolscap"} {
		c := make("by "+protocol, "create-client", "--webport=tcp:0:interface=127.0.0.1", "--shares-needed=1", "--shares-happy=2", "--shares-total=2", known)
		if protocol == "Foolscap" {
			g.add(t, c.name, "[client]\nforce_foolscap = true\n")
		}
		last = g.run(t, c)
		last.wait(t, "storage servers: 2 of 2 connected")
		if cap == "" {
			cap = g.put(t, c, data)
			if err := hub.Stop(); err != nil {
				t.Fatal(err)
			}
			hub = g.run(t, &node{name: "hub"})
			hub.wait(t, " published at ")
		}
		g.get(t, c, cap, data)
		w, err := c.gateway(t).Welcome(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range w.Servers {
			if s.Protocol != protocol || s.Address != "onion" {
				t.Errorf("%s: %s by %s at an address of kind %s", c.name, s.Name, s.Protocol, s.Address)
			}
		}
		g.heard(g.must(t, "-d", c.dir, "status", "-v"))
	}
	out := g.must(t, "-d", hub.dir, "status")
	g.heard(out)
	for _, want := range []string{"met1", "met2"} {
		if !strings.Contains(out, want) {
			t.Errorf("the introducer says nothing of %s:\n%s", want, out)
		}
	}
	hub.alive(t)

	// Who starts while the introducer is away goes by what it said before.
	for _, n := range []*node{hub, last} {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	last = g.run(t, &node{name: last.name})
	last.wait(t, "storage servers: 2 of 2 connected")
	g.get(t, last, cap, data)
	if out := g.must(t, "-d", last.dir, "status"); !strings.Contains(out, "2 servers (2 from the cache)") {
		t.Errorf("status without the introducer:\n%s", out)
	}
}
