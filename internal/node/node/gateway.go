package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"

	"tahoe-go/internal/face/webapi"
	"tahoe-go/internal/kit/spool"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/config/endpoint"
)

// startGateway opens the web gateway, by which the command line and browsers
// use a client node.
func (n *Node) startGateway(ctx context.Context) error {
	if n.cfg.Node.WebPort == nil {
		return nil
	}
	if err := os.MkdirAll(n.cfg.Node.TempDir, 0o700); err != nil {
		return fmt.Errorf("making the folder for temporary files: %w", err)
	}
	if _, err := config.NewAuthToken(n.cfg.Dir); err != nil {
		return err
	}
	return n.serveWeb(ctx, "web gateway", webapi.New(webapi.Config{
		Files:   n.files.immutable,
		Grid:    n.grid,
		Mutable: n.files.mutable, Directories: n.files.directories, Store: n.files.store,
		Blacklist: n.files.blacklist,
		MDMF:      n.cfg.Client.MDMF,
		Static:    n.cfg.Node.WebStatic,
		Nickname:  n.cfg.Node.Nickname, NodeID: n.cert.TubID(),
		K: n.cfg.Client.Needed, Happy: n.cfg.Client.Happy, N: n.cfg.Client.Total,
		Convergence: n.identity.Convergence,
		Ladder:      n.webLadder,
		Introducers: n.introducers,
		Stats:       n.figures,
		Outage:      n.outage(),
		Spool:       spool.Config{Dir: n.cfg.Node.TempDir},
		Hosts:       []string{n.cfg.Node.WebHost},
		Log:         n.log.With("part", "web"),
	}))
}

// startIntroducerPage opens the page of an introducer, where the configuration
// asks for one.
func (n *Node) startIntroducerPage(ctx context.Context) error {
	if n.cfg.Node.WebPort == nil {
		return nil
	}
	return n.serveWeb(ctx, "web page", webapi.NewIntroducer(webapi.IntroducerConfig{
		Status:   n.intro.Status,
		Nickname: n.cfg.Node.Nickname, NodeID: n.cert.TubID(),
		Ladder: n.webLadder,
		Hosts:  []string{n.cfg.Node.WebHost},
		Log:    n.log.With("part", "web"),
	}))
}

// serveWeb opens web.port and writes node.url, by which the command line finds
// it.
func (n *Node) serveWeb(ctx context.Context, what string, h *webapi.Handler) error {
	l, url, err := n.openGateway(ctx)
	if err != nil {
		return fmt.Errorf("opening the %s at %s: %w", what, n.cfg.Node.WebPort, err)
	}
	if err := config.WriteNodeURL(n.cfg.Dir, url); err != nil {
		l.Close()
		return err
	}
	n.serve(ctx, what, func(ctx context.Context) error { return webapi.Serve(ctx, l, h) })
	n.note("%s: %s", what, url)
	return nil
}

// openGateway listens where web.port says. The url of a unix socket is
// unix:PATH, which only this program understands.
func (n *Node) openGateway(ctx context.Context) (l net.Listener, url string, err error) {
	switch p := n.cfg.Node.WebPort.(type) {
	case endpoint.SSL:
		cert, err := tls.LoadX509KeyPair(firstOf(p.CertKey, p.PrivateKey), p.PrivateKey)
		if err != nil {
			return nil, "", err
		}
		tcp := endpoint.TCP{Port: p.Port, Interface: p.Interface}
		if l, err = n.listenLocally(ctx, tcp); err != nil {
			return nil, "", err
		}
		url, err = gatewayURL("https", l)
		return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}), url, err
	case endpoint.Unix:
		l, err = n.listenLocally(ctx, p)
		return l, "unix:" + p.Path, err
	case endpoint.Systemd:
		l, at, err := n.adopt(p)
		if err != nil {
			return nil, "", err
		}
		if at.Kind == netx.Unix {
			return l, "unix:" + at.Host, nil
		}
		if openToOthers(at) {
			n.note("web gateway: the socket of systemd is open to others: all who reach it can use this node")
		}
		url, err = gatewayURL("http", l)
		return l, url, err
	}
	if l, err = n.listenLocally(ctx, n.cfg.Node.WebPort); err != nil {
		return nil, "", err
	}
	url, err = gatewayURL("http", l)
	return l, url, err
}

// listenLocally opens a port of this machine by the network that can open
// nothing else, and any other by the node's.
func (n *Node) listenLocally(ctx context.Context, v endpoint.Value) (net.Listener, error) {
	a, ok := listenAddr(v)
	if !ok {
		return nil, fmt.Errorf("the gateway cannot listen there")
	}
	if t, ok := v.(endpoint.TCP); ok && !t.Loopback() {
		return n.network.Listen(ctx, a)
	}
	return listenOn(ctx, netx.Loopback{}, v, a)
}

// gatewayURL is where programs on this machine find the gateway.
func gatewayURL(scheme string, l net.Listener) (string, error) {
	a, err := netx.AddrOf(l)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s://%s/", scheme, net.JoinHostPort(a.Host, fmt.Sprint(a.Port))), nil
}

// webLadder is the part of the ladder below the servers, which the gateway
// counts itself.
func (n *Node) webLadder() []webapi.Rung {
	var rungs []webapi.Rung
	for _, r := range n.lowerRungs() {
		w := webapi.Rung{Name: r.Name, State: string(r.State), Text: r.Text}
		if r.Name == lockName {
			_, report, _ := n.lock.look()
			for _, s := range report.Holds {
				w.Details = append(w.Details, "holds: "+s)
			}
			for _, s := range report.Open {
				w.Details = append(w.Details, "open: "+s)
			}
		}
		rungs = append(rungs, w)
	}
	return rungs
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
