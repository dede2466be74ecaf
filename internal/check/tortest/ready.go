package tortest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor"
	"tahoe-go/internal/network/tor/onion"
)

// How long a network may take, and one try to connect to an onion.
const (
	readyTime = 90 * time.Second
	tryTime   = 12 * time.Second
)

// ready waits until an onion service in the network has been reached. tor's
// "Bootstrapped 100%" and an uploaded descriptor do not mean that yet.
func (n *Network) ready(ctx context.Context) error {
	nd, err := n.Client("first", ClientConfig{})
	if err != nil {
		return err
	}
	defer nd.Kill()
	t, err := tor.Start(ctx, tor.Config{SOCKS: nd.SOCKS, Control: nd.Control})
	if err != nil {
		return err
	}
	defer t.Close()
	key, err := onion.NewKey(rand.Reader)
	if err != nil {
		return err
	}
	l, err := t.ListenOnion(ctx, tor.OnionConfig{Key: key, Port: 80})
	if err != nil {
		return err
	}
	go echo(l)
	if err := n.await(ctx, t, func(l tor.Ladder) bool { return len(l.Services) == 1 && l.Services[0].Uploaded > 0 }); err != nil {
		return err
	}
	n.say("reaching an onion service through it")
	c, err := Dial(ctx, t, netx.Addr{Kind: netx.Tor, Host: key.Address().String(), Port: 80})
	if err != nil {
		return fmt.Errorf("no onion service was reached through the private Tor network: %w", err)
	}
	c.Close()
	return nil
}

// await waits for a ladder that f likes, saying how far it is.
func (n *Network) await(ctx context.Context, t *tor.Tor, f func(tor.Ladder) bool) error {
	said := ""
	for {
		l, changed := t.Watch()
		if f(l) {
			return nil
		}
		if text := l.String(); text != said {
			n.say("  %s", text)
			said = text
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the private Tor network (%s): %w", l, ctx.Err())
		}
	}
}

// Dial connects through Tor and tries again, each time on circuits of its own,
// until ctx ends: a young network loses circuits. Right after a service was
// published it may not be found for a moment either.
func Dial(ctx context.Context, t *tor.Tor, a netx.Addr) (net.Conn, error) {
	label := a.Isolation
	for try := 1; ; try++ {
		once, cancel := context.WithTimeout(ctx, tryTime)
		c, err := t.DialTor(once, a)
		cancel()
		if err == nil {
			return c, nil
		}
		a.Isolation = fmt.Sprintf("%s#%d", label, try)
		if label == "" {
			a.Isolation = "try:" + rand.Text()
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// echo answers every connection with what it says, until l is closed.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}
