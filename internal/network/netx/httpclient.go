package netx

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"
)

// HTTPOptions tunes an HTTPClient. Zero fields take the value named.
type HTTPOptions struct {
	MaxConns       int           // connections to one URL host, idle ones included; 0: 4
	IdleTimeout    time.Duration // close connections unused for this long; 0: 90 s
	DialTimeout    time.Duration // connecting and, again, the TLS handshake; 0: as Hints say
	HeaderTimeout  time.Duration // from the request sent to the response's header; 0: none, the request's context decides
	ReadBuffer     int           // bytes per connection; 0: 64 KiB
	WriteBuffer    int           // bytes per connection; 0: 64 KiB
	MaxHeaderBytes int64         // of a response; 0: 64 KiB
}

// HTTPClient returns a client that reaches one place, and is the only way to
// get one: a zero http.Client would dial the clear network by itself.
//
// Every request goes to a over n, whatever host its URL names (the URL's host
// still becomes the Host header). A zero a means the place that the URL names,
// as Kind TCP, still over n. For Kind Unix write http://localhost/... .
//
// An https URL needs conf to say whom to trust: RootCAs, or InsecureSkipVerify
// together with VerifyConnection; otherwise requests fail before a byte is
// sent, since the default is the machine's own list of authorities. conf is
// copied; nil serves http URLs only.
//
// The client speaks HTTP/1.1, keeps connections alive, follows no redirect,
// asks for no compression, uses no proxy and keeps no cookies. It sets no
// overall timeout: bound requests by their context. Call CloseIdleConnections
// when done.
func HTTPClient(n Network, a Addr, conf *tls.Config, o HTTPOptions) *http.Client {
	dialTimeout := o.DialTimeout
	if dialTimeout == 0 {
		dialTimeout = HintsFor(n, a).Dial
	}
	t := &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, _, hostPort string) (net.Conn, error) {
			to := a
			if to == (Addr{}) {
				var err error
				if to, err = splitHostPort(hostPort); err != nil {
					return nil, err
				}
			}
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return n.Dial(ctx, to)
		},
		Protocols:              new(http.Protocols),
		DisableCompression:     true,
		MaxConnsPerHost:        or(o.MaxConns, 4),
		MaxIdleConnsPerHost:    or(o.MaxConns, 4),
		IdleConnTimeout:        or(o.IdleTimeout, 90*time.Second),
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  o.HeaderTimeout,
		ReadBufferSize:         or(o.ReadBuffer, 64<<10),
		WriteBufferSize:        or(o.WriteBuffer, 64<<10),
		MaxResponseHeaderBytes: or(o.MaxHeaderBytes, 64<<10),
	}
	t.Protocols.SetHTTP1(true)
	if saysWhomToTrust(conf) {
		t.TLSClientConfig = conf.Clone()
	} else {
		t.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("https without pinned key or own roots: the system's certificate authorities are never used")
		}
	}
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func saysWhomToTrust(conf *tls.Config) bool {
	if conf == nil {
		return false
	}
	return conf.RootCAs != nil || conf.InsecureSkipVerify && conf.VerifyConnection != nil
}

func splitHostPort(hostPort string) (Addr, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return Addr{}, err
	}
	n, err := strconv.Atoi(port)
	return Addr{Kind: TCP, Host: host, Port: n}, err
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
