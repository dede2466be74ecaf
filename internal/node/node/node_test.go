package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/check/leakcheck"
	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/pidfile"
)

// lines is a writer that tests wait on.
type lines struct {
	mu      sync.Mutex // guards below
	text    bytes.Buffer
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait returns once the text contains s.
func (l *lines) wait(t *testing.T, s string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		l.mu.Lock()
		found, changed := strings.Contains(l.text.String(), s), l.changed
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("no %q in:\n%s", s, l)
		}
	}
}

func freePort() (int, error) {
	l, err := netx.Loopback{}.Listen(context.Background(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// create makes a node directory; edit may change the options.
func create(t *testing.T, edit func(*config.CreateOptions)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	o := config.CreateOptions{WebPort: "none", Hostname: "127.0.0.1", FreePort: freePort}
	edit(&o)
	if _, err := config.Create(dir, o, time.Now()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func storageNode(name string) func(*config.CreateOptions) {
	return func(o *config.CreateOptions) { o.Nickname = name }
}

func clientNode(needed, happy, total int) func(*config.CreateOptions) {
	return func(o *config.CreateOptions) {
		o.WebPort, o.Hostname, o.Listen, o.NoStorage = "tcp:0:interface=127.0.0.1", "", []string{"none"}, true
		o.Needed, o.Happy, o.Total = needed, happy, total
	}
}

// edit replaces text in a file of the node directory.
func edit(t *testing.T, dir, old, new string) {
	t.Helper()
	file := filepath.Join(dir, "tahoe.cfg")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("no %q in %s: %v", old, file, err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, dir string, o Options) *Node {
	t.Helper()
	cfg, err := loadConfig(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return n
}

// readFile is a file of the node directory.
func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// Whole nodes on loopback: a file goes from the gateway to three servers and
// comes back with one of them gone. Nothing of it that is secret is logged,
// and nothing stays behind.
func TestFileCrossesNodes(t *testing.T) {
	leakcheck.Check(t)
	log := newLines()
	o := Options{Stderr: log, LogLevel: "debug"}
	client := create(t, clientNode(2, 3, 3))
	var servers []*Node
	var secrets []string
	for _, name := range []string{"ann", "bob", "cem"} {
		dir := create(t, storageNode(name))
		servers = append(servers, start(t, dir, o))
		if _, err := config.AddServers(client, []byte(readFile(t, dir, config.EntryFile))); err != nil {
			t.Fatal(err)
		}
		furl := readFile(t, dir, "private/storage.furl")
		secrets = append(secrets, furl[strings.LastIndexByte(furl, '/')+1:])
	}
	n := start(t, client, o)
	gw, err := webclient.New(webclient.Config{URL: readFile(t, client, "node.url")})
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	data := bytes.Repeat([]byte("an onion has layers; "), 100_000)
	cap, err := gw.Put(t.Context(), bytes.NewReader(data), int64(len(data)), webclient.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := servers[0].Close(); err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if _, err := gw.Get(t.Context(), cap, &back, webclient.GetOptions{}); err != nil || !bytes.Equal(back.Bytes(), data) {
		t.Errorf("Get: %v, %d bytes of %d, equal: %t", err, back.Len(), len(data), bytes.Equal(back.Bytes(), data))
	}
	rungs := n.Ladder()
	if last := rungs[len(rungs)-1]; last.Name != "servers" || !strings.Contains(last.Text, "of 3 connected") {
		t.Errorf("ladder ends with %+v", last)
	}
	secrets = append(secrets, cap.Reveal(), readFile(t, client, "private/convergence"), readFile(t, client, "private/secret"))
	for _, s := range secrets {
		if strings.Contains(log.String(), s) {
			t.Errorf("a secret is in the log")
		}
	}
}

func TestOneNodeADirectory(t *testing.T) {
	dir := create(t, storageNode("ann"))
	start(t, dir, Options{})
	err := Run(t.Context(), dir, Options{})
	if running, ok := errors.AsType[*pidfile.InUseError](err); !ok || running.PID != os.Getpid() {
		t.Errorf("Run beside a running node: %v", err)
	}
}

// A start that fails half way gives back all that it had taken.
func TestFailedStartLeavesNothing(t *testing.T) {
	leakcheck.Check(t)
	taken := create(t, storageNode("ann"))
	start(t, taken, Options{})
	dir := create(t, clientNode(1, 1, 1))
	port := readFile(t, taken, "private/storage.furl")
	port = port[strings.Index(port, "127.0.0.1:")+len("127.0.0.1:"):]
	port, _, _ = strings.Cut(port, "/")
	edit(t, dir, "web.port = tcp:0", "web.port = tcp:"+port)
	err := Run(t.Context(), dir, Options{})
	if err == nil || !strings.Contains(err.Error(), "opening the web gateway") {
		t.Errorf("Run with a taken port: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, pidfile.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s stays: %v", pidfile.Name, err)
	}
}

// Without tub.port the system chooses, and the choice is kept; AUTO tells
// clients of every address.
func TestChosenPortIsKept(t *testing.T) {
	dir := create(t, storageNode("ann"))
	port := readFile(t, dir, "tahoe.cfg")
	port = port[strings.Index(port, "tub.port = "):]
	line, rest, _ := strings.Cut(port, "\n")
	location, _, _ := strings.Cut(rest, "\n")
	edit(t, dir, line+"\n"+location, "#")
	var kept []string
	for range 2 {
		cfg, err := loadConfig(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := Start(t.Context(), cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, readFile(t, dir, config.PortFile)+readFile(t, dir, config.EntryFile))
		n.Close()
	}
	chosen, ok := strings.CutPrefix(readFile(t, dir, config.PortFile), "tcp:")
	if !ok || kept[0] != kept[1] {
		t.Errorf("first start:\n%s\nsecond start:\n%s", kept[0], kept[1])
	}
	if hint := ":" + chosen + "/"; !strings.Contains(kept[0], hint) {
		t.Errorf("no hint with port %s in:\n%s", chosen, kept[0])
	}
}

// A hidden node starts without Tor, says so, and reaches nobody by any other
// way: the server that it knows listens and is never asked.
func TestHiddenNodeWithoutTor(t *testing.T) {
	leakcheck.Check(t)
	server := create(t, storageNode("ann"))
	start(t, server, Options{})
	dir := create(t, func(o *config.CreateOptions) {
		clientNode(1, 1, 1)(o)
		o.HideIP = true
	})
	if _, err := config.AddServers(dir, []byte(readFile(t, server, config.EntryFile))); err != nil {
		t.Fatal(err)
	}
	nobody, _ := freePort()
	text := readFile(t, dir, "tahoe.cfg") + "\n[tor]\nsocks.port = " + netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: nobody}.String() + "\n"
	os.WriteFile(filepath.Join(dir, "tahoe.cfg"), []byte(text), 0o600)
	log := newLines()
	n := start(t, dir, Options{Stderr: log})
	log.wait(t, "server not connected")
	for l, changed := n.tor.Watch(); l.Rungs()[0].State != tor.Failed; l, changed = n.tor.Watch() {
		<-changed // until it says that Tor is not found
	}
	rungs := n.Ladder()
	if last := rungs[len(rungs)-1]; !strings.Contains(last.Text, "0 of 1 connected") {
		t.Errorf("last rung %+v", last)
	}
	conn, err := n.network.Dial(t.Context(), netx.Addr{Kind: netx.TCP, Host: "192.0.2.1", Port: 80})
	if err == nil {
		conn.Close()
		t.Error("the hidden node's network dialled a clear address")
	}
	if _, err := n.network.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "0.0.0.0", Port: 0}); err == nil {
		t.Error("the hidden node's network listens for everyone")
	}
	if strings.Contains(log.String(), "127.0.0.1:"+readPort(t, server)) {
		t.Errorf("an address is in the log of a hidden node:\n%s", log)
	}
}

func readPort(t *testing.T, dir string) string {
	t.Helper()
	furl := readFile(t, dir, "private/storage.furl")
	_, rest, _ := strings.Cut(furl, "127.0.0.1:")
	port, _, _ := strings.Cut(rest, "/")
	return port
}

func TestRunStopsWithStdin(t *testing.T) {
	leakcheck.Check(t)
	dir := create(t, storageNode("ann"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out := newLines()
	done := make(chan error, 1)
	go func() { done <- Run(t.Context(), dir, Options{Stdin: r, Stdout: out}) }()
	out.wait(t, "client running")
	w.Close()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	out.wait(t, "stopping")
}

func TestEndMeansStop(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	closed, _ := os.Create(filepath.Join(t.TempDir(), "closed"))
	closed.Close()
	for _, tt := range []struct {
		name string
		r    io.Reader
		want bool
	}{
		{"nothing", nil, false}, {"/dev/null", null, false}, {"a regular file", file, false},
		{"a pipe", r, true}, {"closed", closed, false}, {"a pipe in memory", strings.NewReader(""), true},
	} {
		if got := endMeansStop(tt.r); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestBadConfigurationDoesNotStart(t *testing.T) {
	dir := create(t, storageNode("ann"))
	edit(t, dir, "shares.needed = 3", "shares.needed = many")
	edit(t, dir, "[client]", "[clint]")
	err := Run(t.Context(), dir, Options{})
	if problems, ok := errors.AsType[config.Problems](err); !ok || len(problems) < 1 {
		t.Errorf("Run: %v, want config.Problems", err)
	}
	if err := Run(t.Context(), t.TempDir(), Options{}); !errors.Is(err, config.ErrNoNode) {
		t.Errorf("Run in an empty folder: %v, want ErrNoNode", err)
	}
}

// A gateway at a unix socket is for its owner alone, and the command line
// finds it.
func TestGatewayAtUnixSocket(t *testing.T) {
	leakcheck.Check(t)
	short, err := os.MkdirTemp("", "gw") // socket paths have to be
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	socket := filepath.Join(short, "web")
	dir := create(t, clientNode(1, 1, 1))
	edit(t, dir, "web.port = tcp:0:interface=127.0.0.1", "web.port = unix:"+socket)
	start(t, dir, Options{})
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	gw, err := webclient.New(webclient.Config{URL: readFile(t, dir, "node.url")})
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	cap, err := gw.Put(t.Context(), strings.NewReader("short"), 5, webclient.PutOptions{})
	var back strings.Builder
	if err == nil {
		_, err = gw.Get(t.Context(), cap, &back, webclient.GetOptions{})
	}
	if err != nil || back.String() != "short" {
		t.Errorf("got %q, %v", back.String(), err)
	}
}

func TestUnderTorsocks(t *testing.T) {
	dir := create(t, clientNode(1, 1, 1))
	for _, tt := range []struct {
		name, value string
		want        bool
	}{
		{"LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/torsocks/libtorsocks.so", true},
		{"TORSOCKS_TOR_PORT", "9150", true},
		{"LD_PRELOAD", "/usr/lib/libeatmydata.so", false},
		{"HOME", "/home/torsocks", false},
	} {
		cfg, err := loadConfig(dir, Options{Env: func(name string) string {
			if name == tt.name {
				return tt.value
			}
			return ""
		}})
		if err != nil || cfg.TorOnly() != tt.want {
			t.Errorf("%s=%s: %v; Tor-only: %t, want %t", tt.name, tt.value, err, cfg.TorOnly(), tt.want)
		}
	}
}

// A gateway is called by the name in web.port, which nobody looks up, and by no
// other.
func TestGatewayByName(t *testing.T) {
	dir := create(t, func(o *config.CreateOptions) {
		clientNode(1, 1, 1)(o)
		o.WebPort = "tcp:0:interface=files.example"
	})
	start(t, dir, Options{})
	url := readFile(t, dir, "node.url")
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("node.url: %s", url)
	}
	client := netx.HTTPClient(netx.Loopback{}, netx.Addr{}, nil, netx.HTTPOptions{})
	defer client.CloseIdleConnections()
	for host, want := range map[string]int{"files.example": 200, "Files.Example:3456": 200, "other.example": 403} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("called %s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}
