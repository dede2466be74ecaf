//go:build amd64 || arm64

package lockdown

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/check/tortest"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/onion"
)

// noNetwork are the torrc lines of a tor that has none: its one authority is a
// port where nobody listens.
var noNetwork = []string{"DirAuthority nobody orport=1 no-v2 v3ident=FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 127.0.0.1:1 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"}

// A process that has launched tor and locked itself down to unix sockets still
// connects through it, serves behind it, and stops it.
func TestWithTor(t *testing.T) {
	tortest.Need(t)
	o := order{Launch: true, Dir: places(t, false).Dir}
	r := o.start(t, false)
	needKernel(t, r)
	if r.Failed != "" || !r.Report.Strict {
		t.Fatalf("%s; report: %v", r.Failed, r.Report)
	}
}

// withTor is what the child does.
func (o order) withTor() (r result) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if r.Report, err = o.useTor(ctx); err != nil {
		if missing, ok := errors.AsType[*MissingError](err); ok {
			r.Missing = missing.Error()
		} else {
			r.Failed = err.Error()
		}
	}
	return r
}

func (o order) useTor(ctx context.Context) (Report, error) {
	var r Report
	tr, err := tor.Start(ctx, tor.Config{Launch: true, Dir: o.Dir, ExtraTorrc: noNetwork})
	if err != nil {
		return r, err
	}
	defer tr.Close()
	key, err := onion.NewKey(rand.Reader)
	if err != nil {
		return r, err
	}
	service, err := tr.ListenOnion(ctx, tor.OnionConfig{Key: key, Port: 80})
	if err != nil {
		return r, err
	}
	ladder, err := await(ctx, tr, func(l tor.Ladder) bool { return len(l.Services) == 1 && l.Services[0].Added })
	if err != nil {
		return r, err
	}

	level, err := For(ladder.SOCKS, ladder.Control)
	if err != nil {
		return r, err
	}
	if r, err = Apply(level); err != nil {
		return r, err
	}

	// Tor's own refusal of a private address: it was asked, and could answer.
	_, err = tr.DialTor(ctx, netx.Addr{Kind: netx.Tor, Host: "127.0.0.1", Port: 80})
	if _, ok := errors.AsType[*tor.SOCKSError](err); !ok {
		return r, fmt.Errorf("dialling through tor: %w", err)
	}
	if err := deliver(service, strings.TrimPrefix(ladder.Services[0].Target, "unix:")); err != nil {
		return r, fmt.Errorf("serving behind tor: %w", err)
	}
	service.Close()
	if _, err := await(ctx, tr, func(l tor.Ladder) bool { return len(l.Services) == 0 }); err != nil {
		return r, fmt.Errorf("taking the service down: %w", err)
	}
	before := time.Now()
	tr.Close()
	if took := time.Since(before); took > 4*time.Second { // then it is killed
		return r, fmt.Errorf("tor did not hear that it should stop: it took %v", took)
	}
	return r, nil
}

// deliver does as tor does with a connection for the service.
func deliver(service net.Listener, socket string) error {
	there, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer there.Close()
	here, err := service.Accept()
	if err != nil {
		return err
	}
	defer here.Close()
	io.WriteString(here, "x")
	_, err = io.ReadFull(there, make([]byte, 1))
	return err
}

func await(ctx context.Context, tr *tor.Tor, good func(tor.Ladder) bool) (tor.Ladder, error) {
	for {
		l, changed := tr.Watch()
		if good(l) {
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return l, fmt.Errorf("%w; the ladder: %v", os.ErrDeadlineExceeded, l)
		}
	}
}
