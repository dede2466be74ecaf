package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/check/leaklab"
	"tahoe-go/internal/check/procgrid"
	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/network/netx"
)

// hostName is what the machine calls itself to the programs in the lab, so
// that a host name in their words can only be a leak.
const hostName = "canary-host-9f3b7c"

// world is a grid of processes in a leak lab, next to a private Tor network.
type world struct {
	t    *testing.T
	lab  *leaklab.Lab // nil: none on this machine; everything else is tested all the same
	wrap []string     // puts a program into the lab
	net  *tortest.Network
	bin  string
	dir  string // short: unix sockets lie below it

	// The machine's tors: one with unix sockets, one with TCP ports. The first
	// has an onion service in its torrc, which leads to a port.
	unixTor, tcpTor *tortest.Node
	torrcPort       int

	mu    sync.Mutex   // guards below
	nodes []*node      // that run
	made  []*node      // all that ever did
	said  bytes.Buffer // what commands printed, but for the caps
}

// node is a node that runs, or ran.
type node struct {
	*procgrid.Process // nil: it runs in the background
	w                 *world
	name              string
	dir               string
	env               []string // what stands before the program: variables, torsocks
	open              bool     // runs outside the lab: a server on the clear network
}

func newWorld(t *testing.T) *world {
	tortest.Need(t)
	w := &world{t: t}
	able := false
	t.Run("leak lab", func(t *testing.T) { leaklab.New(t); able = true }) // says so if there is none
	if able {
		w.lab = leaklab.New(t)
		w.wrap = append([]string{"unshare", "--uts", "sh", "-c", `echo "$0" >/proc/sys/kernel/hostname && exec "$@"`, hostName}, w.lab.Wrap()...)
	}
	var err error
	if w.dir, err = os.MkdirTemp("/tmp", "prf"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.stopAll(); os.RemoveAll(w.dir) })
	var building sync.WaitGroup
	building.Go(func() { w.net = tortest.Shared(t) })
	w.bin = procgrid.Build(t)
	building.Wait()
	if w.net == nil {
		t.FailNow()
	}
	w.startTors()
	return w
}

// clearName and clearName2 are host names that only Tor knows: the tors lead
// them to this machine through an exit. Whoever looks them up elsewhere is seen.
const clearName, clearName2 = "storage.example.org", "store.example.net"

func (w *world) startTors() {
	lines := []string{"MapAddress " + clearName + " 127.0.0.1", "MapAddress " + clearName2 + " 127.0.0.1"}
	w.torrcPort = freePort(w.t)
	var err error
	if w.unixTor, err = w.net.Client("sysunix", tortest.ClientConfig{Extra: append(lines[:2:2],
		"HiddenServiceDir "+w.path("torrc-service"), fmt.Sprintf("HiddenServicePort 29212 127.0.0.1:%d", w.torrcPort))}); err != nil {
		w.t.Fatal(err)
	}
	if w.tcpTor, err = w.net.Client("systcp", tortest.ClientConfig{TCP: true, Extra: lines}); err != nil {
		w.t.Fatal(err)
	}
	if w.lab != nil {
		for _, a := range []netx.Addr{w.tcpTor.SOCKS, w.tcpTor.Control} {
			at := hostPort(a)
			w.lab.ForwardIn(at, at)
		}
	}
	// A tor that nodes launch runs outside the lab, where the network is.
	if err := procgrid.WriteTor(w.path("tor-here"), append(w.net.Lines(), lines...)); err != nil {
		w.t.Fatal(err)
	}
	script := "#!/bin/sh\nexec " + w.path("tor-here") + ` "$@"` + "\n"
	if w.lab != nil {
		script = fmt.Sprintf("#!/bin/sh\nexec nsenter --net=/proc/%d/ns/net %s \"$@\"\n", os.Getpid(), w.path("tor-here"))
	}
	if err := os.WriteFile(w.path("tor"), []byte(script), 0o700); err != nil {
		w.t.Fatal(err)
	}
}

func hostPort(a netx.Addr) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// zero fails t if anything has left the lab so far.
func (w *world) zero(t *testing.T) {
	t.Helper()
	if w.lab == nil {
		return
	}
	if c := w.lab.Counters(); c.Leaked() {
		t.Errorf("LEAK: %v", c)
	}
}

// command is a run of the program in the lab.
type command struct {
	args  []string
	env   []string // what stands before the program: variables, torsocks
	stdin string
	open  bool // outside the lab
}

// do runs a command to its end and returns what it printed.
func (w *world) do(ctx context.Context, c command) (stdout, stderr string, err error) {
	argv := append(append(w.wrapped(c.env, c.open), w.bin), c.args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(c.stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	w.heard(errs.String())
	if err != nil {
		err = fmt.Errorf("tahoe %s: %w: %s", strings.Join(c.args, " "), err, errs.String())
	}
	return out.String(), errs.String(), err
}

// wrapped begins a command line in the lab, or beside it, with what is for the
// program alone: variables, or torsocks.
func (w *world) wrapped(env []string, open bool) []string {
	var argv []string
	if !open {
		argv = append(argv, w.wrap...)
	}
	return append(append(argv, "env"), env...)
}

// heard keeps what was printed for the search for secrets.
func (w *world) heard(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said.WriteString(text + "\n")
}

// must is do for commands that have to work.
func (w *world) must(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := w.do(t.Context(), command{args: args})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// run starts a node that was made.
func (w *world) run(t *testing.T, n *node) *node {
	t.Helper()
	n.w, n.dir = w, w.path(n.name)
	c := procgrid.Command{Binary: w.bin, Args: []string{"run", "--allow-stdin-close", "--log-level=debug", n.dir}, Wrap: w.wrapped(n.env, n.open)}
	p, err := procgrid.Start(n.name, c)
	if err != nil {
		t.Fatal(err)
	}
	n.Process = p
	w.mu.Lock()
	w.nodes, w.made = append(w.nodes, n), append(w.made, n)
	w.mu.Unlock()
	return n
}

func (n *node) wait(t *testing.T, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	if _, err := n.WaitLine(ctx, line); err != nil {
		t.Fatal(err)
	}
}

// alive fails the test if the node has ended.
func (n *node) alive(t *testing.T) {
	t.Helper()
	if n.Process == nil {
		return
	}
	select {
	case <-n.Done():
		t.Errorf("%s has ended:\n%s", n.name, n.Tail(20))
	default:
	}
}

// log is everything that the node has printed.
func (n *node) log(t *testing.T) string {
	t.Helper()
	if n.Process != nil {
		return n.Log()
	}
	text, err := os.ReadFile(filepath.Join(n.dir, "logs", "node.log"))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// tail is the end of the log.
func (n *node) tail(t *testing.T) string {
	t.Helper()
	log := n.log(t)
	return log[max(0, len(log)-3000):]
}

func (w *world) stopAll() {
	w.mu.Lock()
	nodes := w.nodes
	w.nodes = nil
	w.mu.Unlock()
	var stopping sync.WaitGroup
	for _, n := range nodes {
		stopping.Go(func() {
			if n.Process == nil {
				return // it was stopped by command
			}
			select {
			case <-n.Done():
			default:
				if err := n.Stop(); err != nil {
					w.t.Errorf("stopping %s: %v", n.name, err)
				}
			}
		})
	}
	stopping.Wait()
}

// add appends lines to a node's configuration.
func (w *world) add(t *testing.T, name, config string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(w.path(name), "tahoe.cfg"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("\n" + config)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// set replaces the value of a line of a node's configuration; an empty value
// takes the line out.
func (w *world) set(t *testing.T, name, key, value string) {
	t.Helper()
	file := filepath.Join(w.path(name), "tahoe.cfg")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^#?` + regexp.QuoteMeta(key) + ` *=.*$`)
	if !line.Match(old) {
		t.Fatalf("%s has no line for %s", file, key)
	}
	with := key + " = " + value
	if value == "" {
		with = ""
	}
	done := false
	text := line.ReplaceAllStringFunc(string(old), func(string) string {
		if done {
			return ""
		}
		done = true
		return with
	})
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// setting returns the value of a line of a node's configuration.
func (w *world) setting(t *testing.T, name, key string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.path(name), "tahoe.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + ` *= *(.*)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s of %s is not set", key, name)
	}
	return string(m[1])
}

// labNetwork reaches loopback ports inside the lab.
type labNetwork struct{ w *world }

func (l labNetwork) Dial(ctx context.Context, a netx.Addr) (net.Conn, error) {
	if l.w.lab == nil || a.Kind != netx.TCP {
		return netx.Loopback{}.Dial(ctx, a)
	}
	return l.w.lab.Dial(ctx, hostPort(a))
}

func (labNetwork) Listen(context.Context, netx.Addr) (net.Listener, error) {
	return nil, errors.New("nobody listens here")
}

// url is where the node's gateway is.
func (n *node) url(t *testing.T) string {
	t.Helper()
	url, err := os.ReadFile(filepath.Join(n.dir, "node.url"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(url))
}

func (n *node) gateway(t *testing.T) *webclient.Client {
	t.Helper()
	gw, err := webclient.New(webclient.Config{URL: n.url(t), Network: labNetwork{n.w}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gw.Close() })
	return gw
}
