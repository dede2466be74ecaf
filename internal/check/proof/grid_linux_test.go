package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/network/netx"
)

// TestAnonymousGrid is a day in the life of a grid whose nodes hide: all of it
// happens in the leak lab, step by step, over one Tor network.
func TestAnonymousGrid(t *testing.T) {
	w := newWorld(t)
	g := &grid{world: w}
	start := time.Now()
	step := func(name string, f func(t *testing.T)) {
		ok := t.Run(name, func(t *testing.T) { f(t); w.zero(t) })
		t.Logf("%5.1fs  %s", time.Since(start).Seconds(), name)
		if !ok {
			t.FailNow()
		}
	}
	step("servers", g.startServers)
	step("roads", g.takeRoads)
	step("isolation", g.checkIsolation)
	step("in the clear and as an onion", g.bothServer)
	step("directories", g.useDirectories)
	step("put across an outage", g.putAcrossOutage)
	step("get across an outage", g.getAcrossOutage)
	step("without tor", g.withoutTor)
	step("by an introducer", g.byIntroducer)
	step("what others see", g.knockAndSearch)
	step("stop", func(*testing.T) { w.stopAll() })
	step("secrets", g.searchForSecrets)
}

// grid is what the steps share.
type grid struct {
	*world
	hub    *node   // an introducer that hides, in the lab
	onions []*node // storage servers that hide, in the lab
	clears []*node // storage servers that do not, beside it
	roads  []*road

	streams streams // of the tor with unix sockets
	pages   []page  // that gateways gave

	mu        sync.Mutex // guards below
	caps      []string   // of files that were stored
	writeCaps []string   // of directories and mutable files
	plain     []string   // a piece of each file
}

// hubFURL is the file with the introducer's address.
func (g *grid) hubFURL() string { return filepath.Join(g.path("hub"), "private", "introducer.furl") }

// foolscapOnly is a server that is reached by no other protocol.
const foolscapOnly = "onion2"

// joined are how many servers the introducer knows of, the first of onions.
const joined = 3

// startServers makes and runs an introducer that hides, servers that hide, by
// each way there is to have an onion service, and two on the clear network.
func (g *grid) startServers(t *testing.T) {
	g.must(t, "create-introducer", "--listen=tor", "--hide-ip", "--webport=tcp:0:interface=127.0.0.1", "--tor-launch", "--tor-executable="+g.path("tor"), g.path("hub"))
	g.hub = g.run(t, &node{name: "hub"})
	for _, s := range []struct {
		name    string
		options []string
		forward bool // tor delivers to a port, which has to be led into the lab
	}{
		{"onion1", []string{"--tor-launch", "--tor-executable=" + g.path("tor")}, false},
		{"onion2", []string{"--tor-control-port=" + g.unixTor.Control.String()}, true},
		{"onion3", []string{"--tor-control-port=" + g.tcpTor.Control.String()}, true},
	} {
		args := append([]string{"create-node", "--listen=tor", "--hide-ip", "--webport=none", "--nickname=" + s.name, "--introducer=" + g.hubFURL()}, s.options...)
		g.must(t, append(args, g.path(s.name))...)
		if s.name == foolscapOnly {
			g.add(t, s.name, "[storage]\nforce_foolscap = true\n")
		}
		if s.forward && g.lab != nil {
			at := "127.0.0.1:" + g.setting(t, s.name, "onion.local_port")
			g.lab.ForwardOut(at, at)
		}
		g.onions = append(g.onions, g.run(t, &node{name: s.name}))
	}
	g.onions = append(g.onions, g.torrcServer(t), g.folderServer(t))
	for name, host := range map[string]string{"clear1": clearName, "clear2": clearName2} {
		port := freePort(t)
		_, _, err := g.do(t.Context(), command{open: true, args: []string{"create-node", "--webport=none", "--nickname=" + name,
			fmt.Sprintf("--port=tcp:%d:interface=127.0.0.1", port), fmt.Sprintf("--location=tcp:%s:%d", host, port), g.path(name)}})
		if err != nil {
			t.Fatal(err)
		}
		g.clears = append(g.clears, g.run(t, &node{name: name, open: true}))
	}
	g.streams.watch(g.t, g.unixTor.Dial)
	for _, n := range append(g.onions[:3:3], g.hub) {
		n.wait(t, " published at ")
	}
	for _, n := range g.onions {
		n.announced(t)
	}
	for _, n := range g.clears {
		n.wait(t, " running")
	}
}

// torrcServer is a server from the time of torsocks: its onion service is
// written in torrc, and its configuration holds no wish to hide; being started
// under torsocks is one.
func (g *grid) torrcServer(t *testing.T) *node {
	var address []byte
	for start := time.Now(); len(address) == 0; time.Sleep(20 * time.Millisecond) { // until tor has made it
		address, _ = os.ReadFile(filepath.Join(g.path("torrc-service"), "hostname"))
		if time.Since(start) > 30*time.Second {
			t.Fatalf("tor has made no onion service:\n%s", g.unixTor.Log())
		}
	}
	return g.oldServer(t, "onion4", g.torrcPort, strings.TrimSpace(string(address))+":29212", "", g.torsocks())
}

// folderServer has tor set up the service in a folder of tor's own, as the
// documents of that time say.
func (g *grid) folderServer(t *testing.T) *node {
	folder := filepath.Join(filepath.Dir(g.unixTor.CookieFile), "my_service")
	port := freePort(t) // chosen here, since it has to be led into the lab
	return g.oldServer(t, "onion5", port, fmt.Sprintf(`"onion:80:hiddenServiceDir=%s:localPort=%d"`, folder, port),
		"[tor]\ncontrol.port = "+g.unixTor.Control.String()+"\n[node]\ntor_only.enabled = true\n", nil)
}

// oldServer makes a server as for the clear network and then has it hide.
func (g *grid) oldServer(t *testing.T, name string, port int, location, config string, env []string) *node {
	t.Helper()
	g.must(t, "create-node", "--webport=none", "--nickname="+name, "--listen=tcp", "--hostname=203.0.113.4", g.path(name))
	g.set(t, name, "tub.port", "")
	if !strings.Contains(location, "localPort") {
		g.add(t, name, fmt.Sprintf("[node]\ntub.port = %d\n", port))
	}
	g.set(t, name, "tub.location", location)
	g.add(t, name, config)
	if g.lab != nil {
		at := fmt.Sprintf("127.0.0.1:%d", port)
		g.lab.ForwardOut(at, at)
	}
	n := g.run(t, &node{name: name, env: env})
	n.wait(t, "client running")
	return n
}

// announced waits until a server's entry tells of an onion, and of nothing
// else: create-node may have left another.
func (n *node) announced(t *testing.T) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		entry, err := os.ReadFile(filepath.Join(n.dir, "private", "server-entry.yaml"))
		if err == nil && strings.Contains(string(entry), ".onion") && !strings.Contains(string(entry), "203.0.113") {
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("%s announces no onion, or more:\n%s", n.name, n.tail(t))
		}
	}
}

// torsocks is how the program is started under torsocks: by that, or where it
// is not installed, with what it leaves in the environment.
func (g *grid) torsocks() []string {
	host, port := g.tcpTor.SOCKS.Host, strconv.Itoa(g.tcpTor.SOCKS.Port)
	if path, err := exec.LookPath("torsocks"); err == nil {
		return []string{path, "--address", host, "--port", port}
	}
	return []string{"LD_PRELOAD=libtorsocks.so", "TORSOCKS_TOR_ADDRESS=" + host, "TORSOCKS_TOR_PORT=" + port}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := netx.AddrOf(l)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

// road is a way for a client to come to Tor.
type road struct {
	name    string
	options []string // of create-client
	config  string   // lines that the user adds
	env     []string // what stands before the program: variables, torsocks
	joins   bool     // it hears of servers from the introducer, too
	clear   bool     // it also uses servers on the clear network, through an exit
	start   bool     // with start, restart and stop instead of run

	client *node
}

func (g *grid) allRoads() []*road {
	unix := "[tor]\nsocks.port = " + g.unixTor.SOCKS.String() + "\n"
	tcp := "[tor]\nsocks.port = tcp:" + hostPort(g.tcpTor.SOCKS) + "\n"
	roads := []*road{
		{name: "launched", joins: true, options: []string{"--hide-ip"}, config: "[tor]\nlaunch = true\ntor.executable = " + g.path("tor") + "\n"},
		{name: "unix", joins: true, options: []string{"--hide-ip"}, config: unix, clear: true},
		{name: "tcp", joins: true, options: []string{"--hide-ip"}, config: tcp + "control.port = tcp:" + hostPort(g.tcpTor.Control) + "\n", clear: true},
		{name: "tor_only", joins: true, config: unix + "[node]\ntor_only.enabled = true\n", clear: true},
		{name: "tor_only by port", config: tcp + "[node]\ntor_only.enabled = true\n"},
		// A configuration of that time, which wishes for nothing.
		{name: "torsocks", start: true, clear: true, env: g.torsocks(), config: "[node]\ntub.port = 8098\ntub.location = client.fakelocation:0\n"},
	}
	nothing := &road{name: "nothing"}
	if g.lab != nil {
		g.lab.ForwardIn("127.0.0.1:9050", hostPort(g.tcpTor.SOCKS))
	} else { // a tor of this machine must not be found instead
		nothing.env = []string{"TOR_SOCKS_HOST=127.0.0.1", "TOR_SOCKS_PORT=" + strconv.Itoa(g.tcpTor.SOCKS.Port)}
	}
	return append(roads, nothing)
}

// takeRoads makes a client for every road, and each stores and fetches.
func (g *grid) takeRoads(t *testing.T) {
	g.roads = g.allRoads()
	var all sync.WaitGroup
	for _, r := range g.roads {
		all.Go(func() { t.Run(r.name, func(t *testing.T) { g.take(t, r) }) })
	}
	t.Run("commands without a node", g.otherCommands)
	all.Wait()
}

func (g *grid) take(t *testing.T, r *road) {
	servers := g.onions
	if r.clear {
		servers = append(servers[:len(servers):len(servers)], g.clears...)
	}
	n := len(servers)
	options := r.options
	if r.joins {
		options = append(options[:len(options):len(options)], "--introducer="+g.hubFURL())
	}
	g.must(t, append(append([]string{"create-client", "--webport=tcp:0:interface=127.0.0.1", "--nickname=" + r.name,
		"--shares-needed=2", fmt.Sprintf("--shares-happy=%d", n), fmt.Sprintf("--shares-total=%d", n)}, options...), g.path(r.name))...)
	g.add(t, r.name, r.config)
	told := servers
	if r.joins {
		told = servers[joined:]
	}
	for _, s := range told {
		g.must(t, "-d", g.path(r.name), "add-server", filepath.Join(s.dir, "private", "server-entry.yaml"))
	}
	if r.start {
		g.startInBackground(t, r, n)
	} else {
		r.client = g.run(t, &node{name: r.name, env: r.env})
		r.client.wait(t, fmt.Sprintf("storage servers: %d of %d connected", n, n))
	}
	data := content(300_000)
	cap := g.put(t, r.client, data)
	g.get(t, r.client, cap, data)
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"status", "-v"}} {
		out := g.must(t, append([]string{"-d", g.path(r.name)}, args...)...)
		g.heard(out)
		if args[len(args)-1] == "--json" && !json.Valid([]byte(out)) {
			t.Errorf("status --json: %s", out)
		}
	}
	r.client.alive(t)
	if r.start {
		g.background(t, r, "restart")
		g.connected(t, r.client, n)
		g.get(t, r.client, cap, data)
		g.background(t, r, "stop")
	}
}

// startInBackground makes a node that is no child of ours.
func (g *grid) startInBackground(t *testing.T, r *road, servers int) {
	r.client = &node{name: r.name, env: r.env, w: g.world, dir: g.path(r.name)}
	g.world.mu.Lock()
	g.made = append(g.made, r.client)
	g.world.mu.Unlock()
	g.background(t, r, "start")
	g.connected(t, r.client, servers)
}

// background runs start, restart or stop.
func (g *grid) background(t *testing.T, r *road, verb string) {
	t.Helper()
	out, _, err := g.do(t.Context(), command{args: []string{verb, r.client.dir}, env: r.env})
	if err != nil {
		t.Fatal(err)
	}
	g.heard(out)
}

// connected waits until a client has so many servers.
func (g *grid) connected(t *testing.T, n *node, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	gw := n.gateway(t)
	for {
		w, err := gw.Welcome(ctx)
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		for _, s := range w.Servers {
			if s.State == "connected" {
				have++
			}
		}
		if have == want {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond): // there is no event across the gateway
		case <-ctx.Done():
			t.Fatalf("%d of %d servers connected: %s", have, want, w.Summary)
		}
	}
}

// otherCommands have no business on any network.
func (g *grid) otherCommands(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"help"}, {"put", "--help"}, {"completion", "bash"}} {
		g.must(t, args...)
	}
	for _, args := range [][]string{{"no-such-command"}, {"-d", g.path("nowhere"), "put", "/etc/hostname"}, {"-d", g.path("nowhere"), "status"},
		{"create-client", "--hide-ip", "--webport=tcp:0:interface=192.0.2.1", g.path("refused")}} {
		if _, _, err := g.do(t.Context(), command{args: args}); err == nil {
			t.Errorf("tahoe %s works", strings.Join(args, " "))
		}
	}
}

func content(size int) []byte {
	b := make([]byte, size)
	var seed [32]byte
	copy(seed[:], fmt.Sprint(rand.Uint64()))
	rand.NewChaCha8(seed).Read(b)
	return b
}

// put stores data and remembers the cap.
func (g *grid) put(t *testing.T, n *node, data []byte) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, _, err := g.do(ctx, command{args: []string{"-d", n.dir, "put"}, stdin: string(data)})
	if err != nil {
		t.Fatalf("%v\n%s", err, n.tail(t))
	}
	return g.stored(t, out, data)
}

func (g *grid) stored(t *testing.T, out string, data []byte) string {
	t.Helper()
	cap := strings.TrimSpace(out)
	if !strings.HasPrefix(cap, "URI:CHK:") {
		t.Fatalf("put printed %q", out)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.caps = append(g.caps, cap)
	g.plain = append(g.plain, string(data[:32]))
	return cap
}

// get fetches a file and compares it. The cap goes in over standard input: the
// command line is for everybody to see.
func (g *grid) get(t *testing.T, n *node, cap string, want []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	got, _, err := g.do(ctx, command{args: []string{"-d", n.dir, "get", "-", "-"}, stdin: cap + "\n"})
	if err != nil {
		t.Fatalf("%v\n%s", err, n.tail(t))
	}
	if !bytes.Equal([]byte(got), want) {
		t.Errorf("%d bytes came back that differ from the %d that were put", len(got), len(want))
	}
}

// withoutTor: a client whose tor never comes does nothing at all, and says so.
func (g *grid) withoutTor(t *testing.T) {
	g.must(t, "create-client", "--hide-ip", "--webport=tcp:0:interface=127.0.0.1", "--shares-needed=1", "--shares-happy=1", "--shares-total=1", g.path("lost"))
	g.add(t, "lost", "[tor]\nsocks.port = unix:"+g.path("no-tor-here")+"\n")
	for _, s := range append(g.onions[:1:1], g.clears...) {
		g.must(t, "-d", g.path("lost"), "add-server", filepath.Join(s.dir, "private", "server-entry.yaml"))
	}
	n := g.run(t, &node{name: "lost"})
	n.wait(t, "client running")
	n.wait(t, "Tor is not running")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // it waits for Tor, for minutes
	defer cancel()
	if out, _, err := g.do(ctx, command{args: []string{"-d", n.dir, "put"}, stdin: string(content(1000))}); err == nil {
		t.Errorf("a put without Tor printed %q", out)
	}
	out := g.must(t, "-d", n.dir, "status")
	if !strings.Contains(out, "NOT READY") || !strings.Contains(out, "Tor is not running") {
		t.Errorf("status without Tor:\n%s", out)
	}
	n.alive(t)
}
