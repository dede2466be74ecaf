package gbs

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
)

// TestPin checks that a server with another key, another certificate in its
// chain, or an old protocol hears no byte of HTTP.
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
	chain := tls.Certificate{Certificate: append(slices.Clone(mine.Certificate), other.TLS().Certificate[0]), PrivateKey: mine.PrivateKey}
	for name, tt := range map[string]struct {
		conf *tls.Config
		pin  bool // the error is ErrPin
	}{
		"right key":   {&tls.Config{Certificates: []tls.Certificate{mine}}, false},
		"other key":   {&tls.Config{Certificates: []tls.Certificate{other.TLS()}}, true},
		"other chain": {&tls.Config{Certificates: []tls.Certificate{chain}}, true},
		"TLS 1.2":     {&tls.Config{Certificates: []tls.Certificate{mine}, MaxVersion: tls.VersionTLS12}, false},
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
					if tt.pin && rec.encrypted > 32 { // an alert takes 19 bytes
						t.Errorf("%d encrypted bytes after a wrong key was shown", rec.encrypted)
					}
					heard <- n
				}()
				_, err = r.newClient(t, Config{}).Version(t.Context())
				if err == nil || errors.Is(err, ErrPin) != tt.pin {
					t.Errorf("Version: %v; want ErrPin: %v", err, tt.pin)
				}
				if got := <-heard; (got > 0) != (name == "right key") {
					t.Errorf("the server heard %d bytes of HTTP", got)
				}
			})
		})
	}
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
