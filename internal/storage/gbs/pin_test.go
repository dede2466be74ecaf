package gbs

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
)

// TestPin checks that a server with another key, another certificate in its
// chain, the certificate of another TubID, or an old protocol hears no byte of
// HTTP.
func TestPin(t *testing.T) {
	pem, err := tubcert.Generate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := tubcert.Parse(pem)
	if err != nil {
		t.Fatal(err)
	}
	mine := testCert().TLS()
	again := tls.Certificate{Certificate: [][]byte{sameKey(t, mine)}, PrivateKey: mine.PrivateKey}
	chain := tls.Certificate{Certificate: append(slices.Clone(mine.Certificate), other.TLS().Certificate[0]), PrivateKey: mine.PrivateKey}
	for name, tt := range map[string]struct {
		conf *tls.Config
		tub  string
		want error // nil: any, or none
	}{
		"right key":         {&tls.Config{Certificates: []tls.Certificate{mine}}, "", nil},
		"right certificate": {&tls.Config{Certificates: []tls.Certificate{mine}}, testCert().TubID(), nil},
		"other key":         {&tls.Config{Certificates: []tls.Certificate{other.TLS()}}, "", ErrPin},
		"other chain":       {&tls.Config{Certificates: []tls.Certificate{chain}}, "", ErrPin},
		"another's TubID":   {&tls.Config{Certificates: []tls.Certificate{mine}}, other.TubID(), ErrTubID},
		"other certificate": {&tls.Config{Certificates: []tls.Certificate{again}}, testCert().TubID(), ErrTubID},
		"TLS 1.2":           {&tls.Config{Certificates: []tls.Certificate{mine}, MaxVersion: tls.VersionTLS12}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := memnet.New(t)
				r := &rig{client: n.Host("client"), addr: netx.Addr{Kind: netx.TCP, Host: "server", Port: 443}}
				l, err := n.Host("server").Listen(t.Context(), r.addr)
				if err != nil {
					t.Fatal(err)
				}
				heard := make(chan int, 1)
				go func() {
					raw, err := l.Accept()
					if err != nil {
						heard <- 0
						return
					}
					rec := &recorder{Conn: raw}
					n, _ := tls.Server(rec, tt.conf).Read(make([]byte, 1000))
					raw.Close()
					if tt.want != nil && rec.encrypted > 32 { // an alert takes 19 bytes
						t.Errorf("%d encrypted bytes after a wrong certificate was shown", rec.encrypted)
					}
					heard <- n
				}()
				_, err = r.newClient(t, Config{TubID: tt.tub}).Version(t.Context())
				if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("Version: %v; want %v", err, tt.want)
				}
				if got := <-heard; (got > 0) != strings.HasPrefix(name, "right") {
					t.Errorf("the server heard %d bytes of HTTP", got)
				}
			})
		})
	}
}

// sameKey is another certificate of the key.
func sameKey(t *testing.T, c tls.Certificate) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, c.Leaf.PublicKey, c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// recorder counts the bytes of encrypted TLS records that arrive.
type recorder struct {
	net.Conn
	in        []byte
	encrypted int
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.in = append(r.in, p[:n]...)
	for len(r.in) >= 5 {
		length := int(r.in[3])<<8 | int(r.in[4])
		if len(r.in) < 5+length {
			break
		}
		if r.in[0] == 23 {
			r.encrypted += length
		}
		r.in = r.in[5+length:]
	}
	return n, err
}
