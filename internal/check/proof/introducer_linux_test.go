package proof

import (
	"fmt"
	"strings"
	"testing"
)

// byIntroducer: two clients that know no more than the introducer's address,
// one of which speaks Foolscap only, each with a tor of its own. The introducer
// is started again in between.
func (g *grid) byIntroducer(t *testing.T) {
	data := content(300_000)
	cap := ""
	var last *node
	for _, protocol := range []string{"GBS", "Foolscap"} {
		name := "by " + protocol
		g.must(t, "create-client", "--webport=tcp:0:interface=127.0.0.1", "--shares-needed=1", fmt.Sprint("--shares-happy=", joined), fmt.Sprint("--shares-total=", joined),
			"--introducer="+g.hubFURL(), "--hide-ip", "--tor-launch", "--tor-executable="+g.path("tor"), g.path(name))
		if protocol == "Foolscap" {
			g.add(t, name, "[client]\nforce_foolscap = true\n")
		}
		c := g.run(t, &node{name: name})
		last = c
		c.wait(t, fmt.Sprintf("storage servers: %d of %d connected", joined, joined))
		if cap == "" {
			cap = g.put(t, c, data)
			if err := g.hub.Stop(); err != nil {
				t.Fatal(err)
			}
			g.hub = g.run(t, &node{name: "hub"})
			g.hub.wait(t, " published at ")
		}
		g.get(t, c, cap, data)
		w, err := c.gateway(t).Welcome(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range w.Servers {
			if s.Protocol != protocol && s.Name != foolscapOnly || s.Address != "onion" {
				t.Errorf("%s: %s by %s at an address of kind %s", c.name, s.Name, s.Protocol, s.Address)
			}
		}
		g.heard(g.must(t, "-d", c.dir, "status", "-v"))
	}
	out := g.must(t, "-d", g.hub.dir, "status")
	g.heard(out)
	for _, s := range g.onions[:joined] {
		if !strings.Contains(out, s.name) {
			t.Errorf("the introducer says nothing of %s:\n%s", s.name, out)
		}
	}
	g.hub.alive(t)

	// Who starts while the introducer is away goes by what it said before.
	for _, n := range []*node{g.hub, last} {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	last = g.run(t, &node{name: last.name})
	last.wait(t, fmt.Sprintf("storage servers: %d of %d connected", joined, joined))
	g.get(t, last, cap, data)
	if out := g.must(t, "-d", last.dir, "status"); !strings.Contains(out, fmt.Sprintf("%d servers (%d from the cache)", joined, joined)) {
		t.Errorf("status without the introducer:\n%s", out)
	}
	g.hub = g.run(t, &node{name: "hub"})
	g.hub.wait(t, " published at ")
}
