package proof

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/node/config"
)

// knockAndSearch: what two hiding nodes wrote, announce and answer names
// neither an address nor a name of the machine.
func (g *grid) knockAndSearch(t *testing.T) {
	for _, r := range g.roads {
		if r.start {
			continue // stopped
		}
		g.visitPages(t, r.client)
	}
	n := machine(t)
	t.Logf("looking for %d names and addresses", len(n.what))
	server := g.onions[0]
	answers := g.knock(t, server)
	if len(answers) < 7 {
		t.Errorf("only %d answers of %s", len(answers), server.name)
	}
	answers = append(answers, g.knockAtHub(t)...)
	for _, a := range append(answers, g.pages...) {
		n.search(t, a.what, a.text)
	}
	for _, node := range append(g.onions[:len(g.onions):len(g.onions)], g.hub, g.roads[0].client, g.roads[1].client) {
		n.search(t, "the log of "+node.name, []byte(node.log(t)))
		if files := n.searchTree(t, node.dir); files < 10 {
			t.Errorf("only %d files of %s were searched", files, node.name)
		}
	}
	// What others are told holds onion names and no other place at all.
	for _, s := range g.onions {
		entry, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(config.EntryFile)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`@([^/\s]+)/`).FindAllSubmatch(entry, -1) {
			if !regexp.MustCompile(`^(tor:)?[a-z2-7]{56}\.onion:\d+$`).Match(m[1]) {
				t.Errorf("%s announces itself at %s", s.name, m[1])
			}
		}
	}
}

// machine is what must not be found: every name and address of this machine,
// as the nodes in the lab see it and as it really is.
func machine(t *testing.T) *needles {
	n := newNeedles()
	n.add("the host name", hostName)
	if name, err := os.Hostname(); err == nil {
		n.add("the real host name", name)
	}
	own, err := netx.LocalAddresses()
	if err != nil {
		t.Fatal(err)
	}
	own = append(own, netip.MustParseAddr("10.201.0.2"), netip.MustParseAddr("fd99::2"))
	for _, ip := range own {
		if ip.IsLoopback() {
			continue
		}
		n.add("an address of the machine", ip.String())
		if ip.Is6() {
			n.add("an address of the machine, raw", string(ip.AsSlice()))
			n.add("an address of the machine, in full", ip.StringExpanded())
		}
	}
	n.add("the hardware address", "02:00:00:00:00:0a")
	return n
}

// knock collects what a storage server shows to those who reach its onion:
// the certificate, answers to right, wrong and broken requests.
func (g *grid) knock(t *testing.T, s *node) []page {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	through, err := tor.Start(ctx, tor.Config{SOCKS: g.unixTor.SOCKS})
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	entry, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(config.EntryFile)))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`([a-z2-7]{56}\.onion):(\d+)/([A-Za-z0-9_-]+)`).FindSubmatch(entry)
	if m == nil {
		t.Fatalf("no onion in the entry of %s", s.name)
	}
	at := netx.Addr{Kind: netx.Tor, Host: string(m[1])}
	fmt.Sscan(string(m[2]), &at.Port)
	answers := []page{{"the entry of " + s.name, entry}}

	var cert *x509.Certificate
	conf := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error { cert = cs.PeerCertificates[0]; return nil }}
	c := netx.HTTPClient(dialer{through}, at, conf, netx.HTTPOptions{})
	defer c.CloseIdleConnections()
	for _, r := range []struct{ method, path, auth string }{
		{"GET", "/", ""}, {"GET", "/storage/v1/version", ""}, {"GET", "/storage/v1/version", "Tahoe-LAFS d3Jvbmc="}, {"BREW", "/storage/v1/version", ""},
		{"GET", "/storage/v1/immutable/aaaaaaaaaaaaaaaaaaaaaaaaaa/shares", ""}, {"OPTIONS", "*", ""}, {"GET", "/..%2f..%2fetc/passwd", ""},
	} {
		req, err := http.NewRequestWithContext(ctx, r.method, "https://"+at.Host+r.path, nil)
		if err != nil {
			req, err = http.NewRequestWithContext(ctx, r.method, "https://"+at.Host+"/", nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.auth != "" {
			req.Header.Set("Authorization", r.auth)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Errorf("%s %s of %s: %v", r.method, r.path, s.name, err)
			continue
		}
		text, err := dump(resp)
		if err != nil {
			t.Error(err)
		}
		answers = append(answers, page{r.method + " " + r.path + " of " + s.name, text})
	}
	if cert == nil {
		t.Fatal("no certificate was seen")
	}
	answers = append(answers, page{"the certificate", append(cert.Raw, fmt.Sprintf("%v %v %v %v", cert.Subject, cert.Issuer, cert.DNSNames, cert.IPAddresses)...)})
	if len(cert.DNSNames)+len(cert.IPAddresses) > 0 {
		t.Errorf("the certificate names %q and %v", cert.DNSNames, cert.IPAddresses)
	}
	return append(answers, g.knockRaw(t, ctx, through, at, s)...)
}

// knockAtHub is knock for the introducer, which speaks Foolscap alone.
func (g *grid) knockAtHub(t *testing.T) []page {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	through, err := tor.Start(ctx, tor.Config{SOCKS: g.unixTor.SOCKS})
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	text, err := os.ReadFile(g.hubFURL())
	if err != nil {
		t.Fatal(err)
	}
	f, err := furl.ParseFURL(strings.TrimSpace(string(text)))
	if err != nil || len(f.Hints) != 1 || f.Hints[0].Kind != furl.Tor {
		t.Fatalf("the introducer is at %v, %v; want one onion", f.Hints, err)
	}
	return g.knockRaw(t, ctx, through, netx.Addr{Kind: netx.Tor, Host: f.Hints[0].Host, Port: f.Hints[0].Port}, g.hub)
}

// knockRaw sends what is no request, and the first words of Foolscap, whose
// answer comes before anything is encrypted.
func (g *grid) knockRaw(t *testing.T, ctx context.Context, through *tor.Tor, at netx.Addr, s *node) (answers []page) {
	id, err := os.ReadFile(filepath.Join(s.dir, "my_nodeid"))
	if err != nil {
		t.Fatal(err)
	}
	hello := "GET /id/" + strings.TrimSpace(string(id)) + " HTTP/1.1\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n"
	for _, raw := range []string{"GET / HTTP/1.0\r\n\r\n", "\x00\x01garbage\r\n\r\n", hello, strings.Replace(hello, "/id/", "/id/x", 1)} {
		nc, err := tortest.Dial(ctx, through, at)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(nc, raw)
		text, _ := io.ReadAll(nc)
		nc.Close()
		if raw == hello && !bytes.Contains(text, []byte("101")) {
			t.Errorf("%s answers %q to Foolscap's first words", s.name, text)
		}
		answers = append(answers, page{fmt.Sprintf("the answer of %s to %.8q", s.name, raw), bytes.TrimSpace(text)})
	}
	return answers
}

// dialer reaches the world through a tor.
type dialer struct{ tor *tor.Tor }

func (d dialer) Dial(ctx context.Context, a netx.Addr) (net.Conn, error) {
	return tortest.Dial(ctx, d.tor, a)
}

func (dialer) Listen(context.Context, netx.Addr) (net.Listener, error) { return nil, net.ErrClosed }
