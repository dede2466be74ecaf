package gridtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/onion"
	"tahoe-go/internal/network/tubcert"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/diskstore"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/foolscapstore"
	"tahoe-go/internal/storage/gbs"
	"tahoe-go/internal/storage/memstore"
)

// Server is one storage server.
type Server struct {
	Name  string
	Known grid.Known   // as announced
	Host  *memnet.Host // Fail makes the machine hang, refuse or fall silent
	// Store keeps the shares: a *memstore.Store, or a *diskstore.Store in Dir.
	Store storage.Server
	Dir   string // "" when in memory
	// Faults stands between the protocol and the store: a server that is slow,
	// hangs, fails, refuses or lies while its machine and network are well.
	Faults *faultstore.Store

	g        *Grid
	cert     tubcert.Cert
	swissnum redact.Secret
	inUse    storage.Server // Faults, or what Config.Wrap made of it
	stop     func()
}

// Where every server listens, on its own host.
const (
	port         = 443
	foolscapPort = 3457
)

// certs are made once: they are public, and take no part in what is tested.
var certs struct {
	sync.Mutex
	made []tubcert.Cert
}

// certificates returns n certificates, the same ones at each call.
func certificates(n int) []tubcert.Cert {
	setDefault(&n, 10)
	certs.Lock()
	defer certs.Unlock()
	for len(certs.made) < n {
		certs.made = append(certs.made, newCertificate())
	}
	return certs.made[:n:n]
}

// newCertificate makes one with a curve key, which takes a hundredth of the
// time that node.pem's RSA key does, and in each handshake too.
func newCertificate() tubcert.Cert {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "newpb_thingy"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)} // dates do not matter
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	cert, err := tubcert.Parse(append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...))
	must(err)
	return cert
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("gridtest: internal error: %v", err))
	}
}

// newServer makes server i and starts it. Everything but its key is the same
// each time, so the order of servers for a file is too.
func (g *Grid) newServer(i int, cert tubcert.Cert) *Server {
	name := fmt.Sprintf("server%02d", i)
	host := name
	if g.c.Onion {
		host = onion.FromSeed([32]byte{byte(i + 1)}).Address().String()
	}
	swissnum := fmt.Sprintf("swissnum-of-%s-zzzzzzzzzz", name)
	g.Secret(name+"'s swissnum", swissnum)
	s := &Server{Name: name, g: g, cert: cert, Host: g.Net.Host(host)}
	s.swissnum = redact.New(swissnum)
	s.Known = grid.Known{ID: "v0-" + name, Name: name, Seed: []byte(name), LeaseSeed: [20]byte{byte(i)}, Source: "gridtest"}
	if slices.Contains(g.c.Protocols, grid.GBS) {
		s.Known.NURLs = []furl.NURL{{SPKI: cert.SPKI(), Tor: g.c.Onion, Host: host, Port: port, Swissnum: s.swissnum}}
		g.Announce(netx.Addr{Host: host, Port: port})
	}
	if slices.Contains(g.c.Protocols, grid.Foolscap) {
		h := furl.Hint{Kind: furl.TCP, Host: host, Port: foolscapPort}
		if g.c.Onion {
			h.Kind = furl.Tor
		}
		s.Known.FURL = furl.FURL{TubID: cert.TubID(), Hints: []furl.Hint{h}, Swissnum: s.swissnum}
		g.Announce(netx.Addr{Host: host, Port: foolscapPort})
	}
	s.openStore(i)
	s.Faults = faultstore.New(s.Store)
	s.inUse = s.Faults
	if g.c.Wrap != nil {
		s.inUse = g.c.Wrap(i, s.Faults)
	}
	s.Start()
	return s
}

func (s *Server) openStore(i int) {
	c := s.g.c
	if !c.Disk {
		conf := memstore.Config{}
		if c.Capacity != nil {
			conf.Capacity = c.Capacity(i)
		}
		s.Store = memstore.New(conf)
		return
	}
	s.Dir = filepath.Join(s.g.dir, s.Name)
	store, err := diskstore.Open(diskstore.Config{Dir: s.Dir, Log: s.g.log})
	if err != nil {
		s.g.t.Fatalf("gridtest: %v", err)
	}
	s.Store = store
}

// Start serves again after Stop, over the same shares.
func (s *Server) Start() {
	var stops []func()
	if len(s.Known.NURLs) > 0 {
		stops = append(stops, s.startGBS())
	}
	if s.Known.FURL.TubID != "" {
		stops = append(stops, s.startFoolscap())
	}
	s.stop = sync.OnceFunc(func() {
		for _, stop := range stops {
			stop()
		}
	})
}

func (s *Server) listen(port int) net.Listener {
	l, err := s.Host.Listen(context.Background(), netx.Addr{Kind: netx.TCP, Port: port})
	if err != nil {
		s.g.t.Fatalf("gridtest: %v", err)
	}
	return l
}

func (s *Server) startGBS() (stop func()) {
	l := s.listen(port)
	h := gbs.NewHandler(gbs.HandlerConfig{Server: s.inUse, Swissnum: s.swissnum, Log: s.g.log.With("server", s.Name), Grace: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- gbs.Serve(ctx, l, s.cert, h) }()
	return func() {
		cancel()
		if err := <-served; err != nil {
			s.g.t.Errorf("gridtest: %s: %v", s.Name, err)
		}
		if err := h.Close(context.Background()); err != nil {
			s.g.t.Errorf("gridtest: %s: ending its uploads: %v", s.Name, err)
		}
	}
}

func (s *Server) startFoolscap() (stop func()) {
	l := s.listen(foolscapPort)
	log := s.g.log.With("server", s.Name)
	h := foolscapstore.NewHandler(foolscapstore.HandlerConfig{Server: s.inUse, NodeID: s.cert.TubIDBytes(), Log: log})
	tub, err := foolscap.New(foolscap.Config{Cert: s.cert, Hints: s.Known.FURL.Hints, Log: log})
	if err != nil {
		s.g.t.Fatalf("gridtest: %v", err)
	}
	tub.Register(s.swissnum, h.Object())
	served := make(chan error, 1)
	go func() { served <- tub.ServeListener(l) }()
	return func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tub.Close(ctx)
		if err := <-served; err != nil {
			s.g.t.Errorf("gridtest: %s: %v", s.Name, err)
		}
		if err := h.Close(context.Background()); err != nil {
			s.g.t.Errorf("gridtest: %s: ending its uploads: %v", s.Name, err)
		}
	}
}

// Stop ends the server's program: connections end, dials are refused, uploads
// under way are forgotten. It waits, for a virtual second if requests hang.
func (s *Server) Stop() { s.stop() }
