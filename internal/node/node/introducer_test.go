package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/check/leakcheck"
	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/gbs"
)

func introducerNode(o *config.CreateOptions) { o.Kind = config.IntroducerNode }

// joining has a node know the introducer in dir.
func joining(t *testing.T, dir string, edit func(*config.CreateOptions)) func(*config.CreateOptions) {
	return func(o *config.CreateOptions) {
		edit(o)
		o.Introducer = redact.New(readFile(t, dir, config.IntroducerFURLFile))
	}
}

// awaitServers waits until a client is connected to so many servers.
func awaitServers(t *testing.T, n *Node, want int) []grid.Status {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		changed := n.grid.Watch()
		connected := 0
		for _, s := range n.grid.Status() {
			if s.State == grid.Connected {
				connected++
			}
		}
		if connected == want {
			return n.grid.Status()
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%d of %d servers connected: %+v; introducer: %+v", connected, want, n.grid.Status(), n.introducers())
		}
	}
}

// transfer puts data through the gateway of a node and gets it back.
func transfer(t *testing.T, dir string, data []byte) {
	t.Helper()
	gw, err := webclient.New(webclient.Config{URL: readFile(t, dir, "node.url")})
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	cap, err := gw.Put(t.Context(), bytes.NewReader(data), int64(len(data)), webclient.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if _, err := gw.Get(t.Context(), cap, &back, webclient.GetOptions{}); err != nil || !bytes.Equal(back.Bytes(), data) {
		t.Errorf("Get: %v, %d bytes of %d, equal: %t", err, back.Len(), len(data), bytes.Equal(back.Bytes(), data))
	}
}

// A client knows nothing but an introducer, and stores files with the servers
// that announce themselves there, by either protocol. Nothing secret is logged.
func TestGridByIntroducer(t *testing.T) {
	leakcheck.Check(t)
	log := newLines()
	o := Options{Stderr: log, LogLevel: "debug"}
	intro := create(t, introducerNode)
	hub := start(t, intro, o)
	secrets := []string{readFile(t, intro, config.IntroducerFURLFile)}
	var servers []*Node
	for i, name := range []string{"ann", "bob", "cem"} {
		dir := create(t, joining(t, intro, storageNode(name)))
		if i == 2 {
			edit(t, dir, "[storage]\n", "[storage]\nforce_foolscap = true\n")
		}
		servers = append(servers, start(t, dir, o))
		secrets = append(secrets, readFile(t, dir, "private/storage.furl"), readFile(t, dir, "private/node.privkey"))
	}
	client := create(t, joining(t, intro, clientNode(2, 3, 3)))
	n := start(t, client, o)
	for _, s := range awaitServers(t, n, 3) {
		want := grid.GBS
		if s.Name == "cem" {
			want = grid.Foolscap
		}
		if s.Protocol != want || s.Source != "default" {
			t.Errorf("%s by %s from %s, want %s from default", s.Name, s.Protocol, s.Source, want)
		}
	}
	data := bytes.Repeat([]byte("an onion has layers; "), 30_000)
	transfer(t, client, data)

	// The introducer sees who is there, and what a server says of itself grows.
	if st := hub.intro.Status(); len(st.Announcements) != 3 || len(st.Subscribers) != 1 {
		t.Errorf("the introducer knows %d servers and %d subscribers, want 3 and 1", len(st.Announcements), len(st.Subscribers))
	}
	if got := readFile(t, servers[0].cfg.Dir, "announcement-seqnum"); got != "1" {
		t.Errorf("announcement-seqnum is %s, want 1", got)
	}

	// With the introducer gone the client starts from its cache.
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := hub.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, client, "[client]\n", "[client]\nforce_foolscap = true\n")
	n = start(t, client, o)
	for _, s := range awaitServers(t, n, 3) {
		if s.Protocol != grid.Foolscap {
			t.Errorf("%s by %s though the client forces Foolscap", s.Name, s.Protocol)
		}
	}
	transfer(t, client, append(data, "more"...))

	// After a restart it knows all without being told again, and has the same
	// address.
	for _, s := range servers {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	hub = start(t, intro, o)
	if st := hub.intro.Status(); len(st.Announcements) != 3 {
		t.Errorf("after its restart the introducer knows %d servers, want 3", len(st.Announcements))
	}
	for _, s := range secrets {
		s = s[strings.LastIndexAny(s, "/-")+1:]
		if strings.Contains(log.String(), s) {
			t.Errorf("a secret is in the log")
		}
	}
}

// A server announces the certificate that a grid manager has given it, and a
// client stores new shares there and not at another.
func TestGridManager(t *testing.T) {
	leakcheck.Check(t)
	manager, err := announce.NewSigningKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	intro := create(t, introducerNode)
	start(t, intro, Options{})
	for _, name := range []string{"ann", "bob"} {
		dir := create(t, joining(t, intro, storageNode(name)))
		if name == "ann" {
			server, err := announce.ParsePublic(readFile(t, dir, "node.pubkey"))
			if err != nil {
				t.Fatal(err)
			}
			cert, err := announce.Certify(manager, announce.Grant{Server: server, Expires: time.Now().Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(cert)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "ann.cert"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			edit(t, dir, "[storage]\n", "[grid_manager_certificates]\nann = ann.cert\n[storage]\ngrid_management = true\n")
		}
		start(t, dir, Options{})
	}
	client := create(t, joining(t, intro, clientNode(1, 1, 2)))
	edit(t, client, "[client]\n", "[grid_managers]\nmanager = "+manager.Key().Public()+"\n[client]\n")
	n := start(t, client, Options{})
	for _, s := range awaitServers(t, n, 2) {
		if (s.Barred == "") != (s.Name == "ann") {
			t.Errorf("%s gets no new shares because %q", s.Name, s.Barred)
		}
	}
	transfer(t, client, bytes.Repeat([]byte("on paper "), 10_000))
	for _, p := range n.grid.ForRead(storage.Index{}) {
		if p.NoNewShares != (p.Name == "bob") {
			t.Errorf("%s: NoNewShares is %t", p.Name, p.NoNewShares)
		}
	}
	if p := n.grid.ForUpload(storage.Index{}); len(p) != 1 || p[0].Name != "ann" {
		t.Errorf("new shares go to %v", p)
	}
}

// A client whose introducer knows no server says so, once it has been heard out.
func TestIntroducerNamesNone(t *testing.T) {
	leakcheck.Check(t)
	intro := create(t, introducerNode)
	start(t, intro, Options{})
	out, done := newLines(), make(chan error, 1)
	ctx, halt := context.WithCancel(t.Context())
	defer halt()
	client := create(t, joining(t, intro, clientNode(1, 1, 1)))
	go func() { done <- Run(ctx, client, Options{Stdout: out}) }()
	out.wait(t, "storage servers: none known yet; waiting for the introducer to tell of some")
	out.wait(t, "storage servers: none known yet; the introducer is connected and names none")
	halt()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A thousand connections that say nothing do not keep a good client waiting, of
// either protocol.
func TestSilentCrowd(t *testing.T) {
	leakcheck.Check(t)
	server := create(t, storageNode("ann"))
	n := start(t, server, Options{})
	f, err := furl.ParseFURL(readFile(t, server, "private/storage.furl"))
	if err != nil {
		t.Fatal(err)
	}
	at := hintAddr(f.Hints[0])
	ask := func() time.Duration {
		t.Helper()
		began := time.Now()
		c := gbs.NewClient(gbs.Config{Network: netx.Loopback{}, NURL: f.NURLs(n.cert.SPKI())[0]})
		defer c.Close()
		if _, err := c.Version(t.Context()); err != nil {
			t.Fatalf("HTTP: %v", err)
		}
		tub, err := contact.NewTub(netx.Loopback{}, foolscap.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tub.Close(t.Context())
		if _, err := tub.Dial(t.Context(), f, foolscap.DialOptions{}); err != nil {
			t.Fatalf("Foolscap: %v", err)
		}
		return time.Since(began)
	}
	ask()
	alone := ask()
	var crowd []net.Conn
	for i := range 1000 {
		c, err := netx.Loopback{}.Dial(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			c.Write([]byte("GET /i"))
		}
		crowd = append(crowd, c)
	}
	beside := ask()
	t.Logf("both protocols answer: alone in %v, beside 1000 silent connections in %v", alone, beside)
	if beside > 10*alone+time.Second {
		t.Errorf("a good client waits for %v beside a silent crowd, and %v alone", beside, alone)
	}
	for _, c := range crowd {
		c.Close()
	}
}

// eventually polls: there is no event for what another program writes or takes.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !done() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-late:
			t.Fatal(what)
		}
	}
}

// An address that tor shows late is announced as soon as it is there: a
// server's to the introducer, which has heard of its other place by then, and an
// introducer's in its file.
func TestLateOnionIsAnnounced(t *testing.T) {
	leakcheck.Check(t)
	intro := create(t, introducerNode)
	hub := start(t, intro, Options{})
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	_, id, lines := torWithDirs(t)
	onion := ",onion:80:hiddenServiceDir=" + torDir + "\n"
	place := fmt.Sprintf("tcp:127.0.0.1:%d", port)
	dir := storageWith(t, fmt.Sprintf("[node]\ntub.port = tcp:%d\ntub.location = %s%s%s[client]\nintroducer.furl = %s",
		port, place, onion, lines, readFile(t, intro, config.IntroducerFURLFile)))
	start(t, dir, Options{})
	want := []string{place, "tor:" + id + ".onion:80"}
	eventually(t, "the onion of a server is not announced", func() bool {
		st := hub.intro.Status()
		return len(st.Announcements) == 1 && slices.Equal(st.Announcements[0].Hints, want)
	})

	if port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	_, id, lines = torWithDirs(t)
	late := create(t, introducerNode)
	if err := os.WriteFile(filepath.Join(late, "tahoe.cfg"), fmt.Appendf(nil, "[node]\ntub.port = tcp:%d\ntub.location = tcp:127.0.0.1:%d%s%s", port, port, onion, lines), 0o600); err != nil {
		t.Fatal(err)
	}
	before := readFile(t, late, config.IntroducerFURLFile)
	start(t, late, Options{})
	eventually(t, "introducer.furl does not have the onion", func() bool {
		return strings.Contains(readFile(t, late, config.IntroducerFURLFile), ",tor:"+id+".onion:80/")
	})
	if now := readFile(t, late, config.IntroducerFURLFile); now[strings.LastIndexByte(now, '/'):] != before[strings.LastIndexByte(before, '/'):] {
		t.Error("the introducer's secret has changed")
	}
}
