package node

import (
	"context"
	"fmt"

	"tahoe-go/internal/network/tor/torsocks"
	"tahoe-go/internal/node/config"
)

// heedTorsocks takes over what torsocks was set to, where the process was
// started by it. The configuration has settled that everything goes through Tor
// (config.Options.Torsocks); this is by which tor.
func (n *Node) heedTorsocks(context.Context) error {
	s, started, err := torsocks.Detect(n.opts.Env)
	if err != nil || !started {
		return err
	}
	// tahoe.cfg speaks of this node, and torsocks' file of all programs; but
	// both against a variable is one wish against another.
	t := n.cfg.Tor
	switch {
	case s.FromEnv && t.Launch:
		return contradiction("launch", fmt.Sprintf("started under torsocks with Tor at %s, but launch = true starts another tor", s.SOCKS), "set launch = false, or start the node without TORSOCKS_TOR_ADDRESS and TORSOCKS_TOR_PORT")
	case s.FromEnv && t.SocksPort != nil && dialAddr(t.SocksPort) != s.SOCKS:
		return contradiction("socks.port", fmt.Sprintf("started under torsocks with Tor at %s, but socks.port = %s", s.SOCKS, t.SocksPort), "delete the line, or start the node without TORSOCKS_TOR_ADDRESS and TORSOCKS_TOR_PORT")
	}
	n.torsocks = s
	where := "which is looked for"
	switch {
	case !t.Enabled:
		where = "which is switched off ([tor] enabled = false): nothing leaves"
	case t.Launch:
		where = "which the node launches"
	default:
		if at := n.socksAddr(); at.Kind != "" {
			where = "at " + at.String()
		}
	}
	n.note("started under torsocks: everything goes through Tor, %s", where)
	return nil
}

func contradiction(key, why, remedy string) error {
	return config.Problems{config.NewProblem("[tor] "+key, why, remedy)}
}
