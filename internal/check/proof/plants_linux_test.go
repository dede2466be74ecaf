package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"tahoe-go/internal/check/archtest"
	"tahoe-go/internal/check/leaklab"
	"tahoe-go/internal/check/procgrid"
)

// defects are what somebody might write by mistake; each is planted twice: in
// package node, which must not touch the network, and in netx, which may. code
// sets err.
var defects = []struct {
	name, imports, code string
	rule                string // that must find it in node
}{
	{"direct dial", `"net"`, `_, err = net.DialTimeout("tcp", "203.0.113.80:443", time.Second)`, "dial"},
	{"name look-up", `"net"`, `_, err = net.LookupHost("storage.example.org")`, "dial"},
	{"UDP connect", `"net"`, `_, err = net.Dial("udp", "203.0.113.9:9")`, "dial"},
	{"default HTTP client", `"net/http"`, `_, err = http.Get("http://updates.example.org/latest")`, "http client"},
	{"clear listener", `"net"`, `_, err = net.Listen("tcp", ":0")`, "dial"},
}

// spots are where the defects are planted, and the line behind which they are
// called.
var spots = []struct{ pkg, file, line string }{
	{"internal/node/node", "run.go", "func (n *Node) identify(context.Context) error {"},
	{"internal/network/netx", "policy.go", "func (t *torOnly) Dial(ctx context.Context, a Addr) (net.Conn, error) {"},
}

// Which defects strike, and after which file has come.
const plantEnv, triggerEnv = "TAHOE_PLANTED", "TAHOE_PLANTED_AFTER"

// plant is a defect at a spot.
type plant struct{ pkg, defect string }

func (p plant) name() string { return p.defect + " in " + filepath.Base(p.pkg) }

// source is the file that a defect comes in. Which of those planted strikes is
// chosen when the program runs, so that it is built once.
func source(pkg, name, imports, code string) string {
	return strings.NewReplacer("PACKAGE", filepath.Base(pkg), "IMPORTS", imports, "IDENT", ident(name), "CODE", code, "NAME", plant{pkg, name}.name(),
		"WHICH", plantEnv, "AFTER", triggerEnv).Replace(`package PACKAGE

import (
	"fmt"
	IMPORTS
	"os"
	"strings"
	"sync"
	"time"
)

var plant_IDENT = sync.OnceFunc(func() {
	if !strings.Contains(os.Getenv("WHICH"), "NAME") {
		return
	}
	for file := os.Getenv("AFTER"); file != ""; {
		if _, err := os.Stat(file); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	var err error
	CODE
	fmt.Fprintln(os.Stderr, "planted NAME:", err)
})
`)
}

// TestPlantedDefects shows that nothing in the proof is blind: each defect is
// seen by the leak lab, by the rule on imports, or by both.
func TestPlantedDefects(t *testing.T) {
	able := false
	t.Run("leak lab", func(t *testing.T) { leaklab.New(t); able = true })
	var bin string
	var broken map[plant]string
	var preparing sync.WaitGroup
	preparing.Go(func() { broken = breakRules(t) })
	if able {
		bin = buildPlanted(t)
	}
	preparing.Wait()

	type row struct{ rule, seen string }
	var rows [][2]row
	for _, d := range defects {
		var r [2]row
		for i, s := range spots {
			p := plant{s.pkg, d.name}
			want := d.rule
			if s.pkg == "internal/network/netx" {
				want = "" // it is the door
			}
			if r[i].rule = broken[p]; r[i].rule != want {
				t.Errorf("%s breaks the rule %q, want %q", p.name(), r[i].rule, want)
			}
			if r[i].rule == "" {
				r[i].rule = "may do that"
			}
		}
		rows = append(rows, r)
	}
	locked := map[string]string{}
	if able {
		var striking errgroup.Group
		striking.SetLimit(3)
		for i, d := range defects {
			for j, s := range spots {
				striking.Go(func() error { rows[i][j].seen = strikes(t, bin, plant{s.pkg, d.name}); return nil })
			}
		}
		striking.Go(func() error { locked = strikesLocked(t, bin); return nil })
		striking.Go(func() error {
			if seen := strikes(t, bin, plant{}); seen != "" {
				t.Errorf("nothing was planted, and this was seen: %s", seen)
			}
			return nil
		})
		striking.Wait()
	}
	var table strings.Builder
	out := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	fmt.Fprintf(out, "planted\tthe rule on imports\tthe leak lab\tonce locked down by the kernel\n")
	for i, d := range defects {
		for j, s := range spots {
			stopped := "(comes before)"
			if s.pkg == "internal/network/netx" {
				stopped = locked[d.name]
			}
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", plant{s.pkg, d.name}.name(), rows[i][j].rule, rows[i][j].seen, stopped)
		}
	}
	out.Flush()
	t.Logf("who notices what\n%s", table.String())
}

// victim makes and runs a client that hides, with a tor that is not there and a
// server to call, and waits until it has tried.
func victim(t *testing.T, ctx context.Context, lab *leaklab.Lab, bin, config string, env ...string) *procgrid.Process {
	dir := filepath.Join(t.TempDir(), "n")
	do := func(args ...string) {
		if _, err := procgrid.Output(ctx, procgrid.Command{Binary: bin, Args: args, Wrap: lab.Wrap()}); err != nil {
			t.Error(err)
		}
	}
	do("create-client", "--hide-ip", "--webport=tcp:0:interface=127.0.0.1", dir)
	server := filepath.Join(t.TempDir(), "s")
	do("create-node", "--port=tcp:1234:interface=127.0.0.1", "--location=tcp:"+clearName+":1234", "--webport=none", server)
	do("-d", dir, "add-server", filepath.Join(server, "private", "server-entry.yaml"))
	cfg, err := os.OpenFile(filepath.Join(dir, "tahoe.cfg"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Error(err)
		return nil
	}
	fmt.Fprintf(cfg, "\n[tor]\nsocks.port = unix:%s/none\n%s", dir, config)
	cfg.Close()
	n, err := procgrid.Start("client", procgrid.Command{Binary: bin, Args: []string{"run", "--allow-stdin-close", "--log-level=debug", dir},
		Wrap: lab.Wrap(), Env: env})
	if err != nil {
		t.Error(err)
	}
	return n
}

// strikes runs a client with the defect p and returns what the lab saw of it.
// No defect: nothing may be seen until the client has tried to connect.
func strikes(t *testing.T, bin string, p plant) (seen string) {
	lab := leaklab.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	n := victim(t, ctx, lab, bin, "[node]\nlockdown.enabled = false\n", plantEnv+"="+p.name())
	if n == nil {
		return "NOT RUN"
	}
	defer n.Kill()
	line := "server not connected"
	if p.defect != "" {
		line = "planted " + p.name()
	}
	if _, err := n.WaitLine(ctx, line); err != nil {
		t.Error(err)
		return "NOT RUN"
	}
	c := lab.Counters()
	switch {
	case p.defect == "" && !c.Leaked():
		return ""
	case p.defect == "":
		return c.String()
	case !c.Leaked():
		t.Errorf("%s is not seen by the lab", p.name())
		return "NOTHING"
	}
	return summary(c)
}

// strikesLocked has every defect of netx strike in a client that is locked down
// by then, and returns what became of each. None may be seen.
func strikesLocked(t *testing.T, bin string) map[string]string {
	lab := leaklab.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	trigger := filepath.Join(t.TempDir(), "now")
	var all []string
	for _, d := range defects {
		all = append(all, plant{"internal/network/netx", d.name}.name())
	}
	n := victim(t, ctx, lab, bin, "", plantEnv+"="+strings.Join(all, ";"), triggerEnv+"="+trigger)
	if n == nil {
		return nil
	}
	defer n.Kill()
	if line, err := n.WaitLine(ctx, "locked down"); err != nil || !strings.Contains(n.Log(), "locked down by the kernel") {
		t.Logf("NOT RUN, no lock-down here: %s, %v", line, err)
		return nil
	}
	if err := os.WriteFile(trigger, nil, 0o600); err != nil {
		t.Error(err)
	}
	ends := map[string]string{}
	for i, name := range all {
		line, err := n.WaitLine(ctx, "planted "+name+":")
		if err != nil {
			t.Error(err)
			return ends
		}
		_, end, _ := strings.Cut(line, name+": ")
		ends[defects[i].name] = end[strings.LastIndex(end, ": ")+len(": "):]
		if !strings.Contains(end, "permission denied") {
			t.Errorf("locked down: %s", line)
		}
	}
	if c := lab.Counters(); c.Leaked() {
		t.Errorf("locked down, and this was seen: %v", c)
	}
	return ends
}

// summary is the counters in a few words.
func summary(c leaklab.Counters) string {
	var words []string
	for _, k := range []struct {
		n    int64
		what string
	}{{c.TCP, "TCP packets"}, {c.UDP, "UDP packets"}, {c.DNS + c.LoDNS, "name queries"}, {c.Other, "other packets"}} {
		if k.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", k.n, k.what))
		}
	}
	for _, line := range append(c.Packets, c.Sockets...) {
		if !strings.Contains(line, "ff02::") { // the kernel's own
			words = append(words, line)
			break
		}
	}
	return strings.Join(words, ", ")
}

// buildPlanted builds the program with every defect at every spot.
func buildPlanted(t *testing.T) string {
	t.Helper()
	root := moduleRoot(t)
	dir := t.TempDir()
	replace := map[string]string{}
	put := func(name, text string) {
		to := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, name)] = to
	}
	for _, s := range spots {
		calls := ""
		for _, d := range defects {
			put(filepath.Join(s.pkg, fileOf(d.name)), source(s.pkg, d.name, d.imports, d.code))
			calls += "\n\tplant_" + ident(d.name) + "()"
		}
		text, err := os.ReadFile(filepath.Join(root, s.pkg, s.file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), s.line) != 1 {
			t.Fatalf("%s/%s has no place to plant: %s", s.pkg, s.file, s.line)
		}
		put(filepath.Join(s.pkg, s.file), strings.Replace(string(text), s.line, s.line+calls, 1))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "tahoe")
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, "tahoe-go/cmd/tahoe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the planted program: %v\n%s", err, out)
	}
	return bin
}

func fileOf(defect string) string { return "planted_" + ident(defect) + ".go" }

func ident(defect string) string { return strings.NewReplacer(" ", "_", "-", "_").Replace(defect) }

// breakRules returns which rule each plant breaks, of those on the network. The
// rules look at a file by itself, so the files stand alone in a small tree.
func breakRules(t *testing.T) map[plant]string {
	root := moduleRoot(t)
	tree := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	design, err := os.ReadFile(filepath.Join(root, "docs", "design.md"))
	if err != nil {
		t.Error(err)
	}
	write("docs/design.md", string(design))
	write("go.mod", "module tahoe-go\n\ngo 1.26\n")
	at := map[string]plant{}
	for _, s := range spots {
		for _, d := range defects {
			file := filepath.Join(s.pkg, fileOf(d.name))
			write(file, source(s.pkg, d.name, d.imports, d.code))
			at[file] = plant{s.pkg, d.name}
		}
	}
	loaded, err := archtest.Load(tree, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "GOPROXY=off"))
	if err != nil {
		t.Error(err)
		return nil
	}
	broken := map[plant]map[string]bool{}
	for _, v := range loaded.Check(archtest.Rules) {
		p, ok := at[v.Pos.Filename]
		if ok && (v.Rule == "dial" || v.Rule == "http client") {
			if broken[p] == nil {
				broken[p] = map[string]bool{}
			}
			broken[p][v.Rule] = true
		}
	}
	names := map[plant]string{}
	for p, rules := range broken {
		names[p] = strings.Join(slices.Sorted(maps.Keys(rules)), ", ")
	}
	return names
}

func moduleRoot(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above")
		}
		dir = filepath.Dir(dir)
	}
}

// TestLabSeesTheProduct: the same lab and the same program, by a client that
// does not hide, to servers on the clear network: a connection and a name query
// are seen. So a zero elsewhere is not that of a program that does nothing.
func TestLabSeesTheProduct(t *testing.T) {
	lab := leaklab.New(t)
	bin := procgrid.Build(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	do := func(args ...string) {
		t.Helper()
		if _, err := procgrid.Output(ctx, procgrid.Command{Binary: bin, Args: args, Wrap: lab.Wrap()}); err != nil {
			t.Fatal(err)
		}
	}
	do("create-client", "--webport=tcp:0:interface=127.0.0.1", filepath.Join(dir, "c"))
	for i, host := range []string{"203.0.113.80", clearName} {
		server := filepath.Join(dir, fmt.Sprint("s", i))
		do("create-node", "--port=tcp:1234:interface=127.0.0.1", "--location=tcp:"+host+":1234", "--webport=none", server)
		do("-d", filepath.Join(dir, "c"), "add-server", filepath.Join(server, "private", "server-entry.yaml"))
	}
	lab.Zero() // making nodes tells nobody
	n, err := procgrid.Start("client", procgrid.Command{Binary: bin, Args: []string{"run", "--allow-stdin-close", filepath.Join(dir, "c")}, Wrap: lab.Wrap()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Kill()
	for {
		c := lab.Counters()
		if c.TCP > 0 && c.DNS > 0 {
			t.Log(summary(c))
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("seen so far: %v\n%s", c, n.Log())
		}
	}
}
