package config

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/node/config/endpoint"
)

// Validate returns every problem of the configuration: those of reading it,
// and the contradictions between its parts. It is what Load returned.
func (c *Config) Validate() Problems { return slices.Clone(c.problems) }

// check settles what keys decide together and collects the problems.
func (c *Config) check() {
	c.settleOnions()
	c.checkPrivacy()
	c.checkListening()
	c.checkWeb()
	c.checkTor()
	c.checkClient()
	c.checkExpire()
	c.checkSFTPD()
	c.checkPrivate()
	c.checkHandlers()
	c.checkGridManagers()
	c.checkLater()
	c.problems.sort()
	c.Warnings.sort()
}

// checkListening settles whether and where the node listens.
func (c *Config) checkListening() {
	n := &c.Node
	portOff, portMixed := holds[endpoint.Disabled](n.TubPort)
	locOff, locMixed := holds[endpoint.Disabled](n.TubLocation)
	noOne, noOneMixed := holds[endpoint.Unreachable](n.TubLocation)
	if portMixed {
		c.problem("node", "tub.port", "\"disabled\" stands alone or not at all", "")
	}
	if locMixed || noOneMixed {
		c.problem("node", "tub.location", "\"disabled\" and \"UNREACHABLE\" stand alone or not at all", "")
	}
	switch {
	case c.bad("tub.port", n.TubPort) || c.bad("tub.location", n.TubLocation):
		n.Listens = true // reported already, and the rest is not to be guessed
		c.checkPorts()
	case noOne || portOff && locOff:
	case c.TorOnly() && len(n.TubLocation) == 0:
		if c.has("node", "tub.port") && !portOff {
			c.warn("node", "tub.port", "not used: without tub.location nobody can be told of this node", "")
		}
	case portOff:
		n.Listens = true // not to add that nobody can reach the storage server
		c.problem("node", "tub.port", "tub.port is disabled, but tub.location is not", "write tub.location = disabled too, or give a port")
	case locOff:
		n.Listens = true
		c.problem("node", "tub.location", "tub.location is disabled, but tub.port is not", "write tub.port = disabled too, or say where this node is")
	default:
		n.Listens = true
		c.checkPorts()
		c.checkAuto()
		c.checkDelivered()
	}
	if !n.Listens {
		n.TubPort, n.TubLocation = nil, nil
	}
	c.checkServices()
}

// bad reports whether a list of [node] could not be read.
func (c *Config) bad(key string, list []endpoint.Value) bool {
	return len(list) == 0 && c.has("node", key)
}

// has reports whether tahoe.cfg sets a key, well or not.
func (c *Config) has(section, key string) bool { return c.file.KeyLine(section, key) > 0 }

// holds reports whether a value of type T is alone in the list, or mixed with
// others.
func holds[T endpoint.Value](list []endpoint.Value) (alone, mixed bool) {
	i := slices.IndexFunc(list, func(v endpoint.Value) bool { _, ok := v.(T); return ok })
	return i >= 0 && len(list) == 1, i >= 0 && len(list) > 1
}

func (c *Config) checkPorts() {
	for i, v := range c.Node.TubPort {
		switch p := v.(type) {
		case endpoint.TCP:
			if p.Port == 0 {
				c.problem("node", "tub.port", "port 0 would be another one at each start, and others could not find it again", "choose a number, or leave tub.port out to have one chosen and kept")
			}
			c.Node.TubPort[i] = c.hidePort("tub.port", p)
		case endpoint.SSL:
			c.problem("node", "tub.port", "ssl: does not fit here, the node uses TLS with its own certificate anyway", fmt.Sprintf("write tcp:%d", p.Port))
		case endpoint.Provider:
			if p.Name == "tor" && !c.Tor.Onion {
				c.problem("node", "tub.port", "listen:tor needs an onion service, and [tor] onion is not on", "set onion = true and its ports and key file in [tor]")
			}
		}
	}
}

func (c *Config) checkAuto() {
	auto := len(c.Node.TubLocation) == 0
	for _, v := range c.Node.TubLocation {
		if _, ok := v.(endpoint.Auto); ok {
			auto = true
		}
	}
	if auto && len(c.Node.TubPort) > 0 && !slices.ContainsFunc(c.Node.TubPort, isTCP) {
		c.problem("node", "tub.location", "AUTO needs a tcp: port to announce, and tub.port has none", "write out where this node can be reached")
	}
}

// isTCP reports whether v listens at an IP address.
func isTCP(v endpoint.Value) bool {
	switch p := v.(type) {
	case endpoint.TCP:
		return true
	case endpoint.Systemd:
		return p.Domain != "UNIX"
	}
	return false
}

// checkServices refuses servers that nobody can reach. A storage server that
// is there only because nobody said no is switched off instead, and so is that
// of a node whose owner has it unreachable in the spelling of torsocks' time.
func (c *Config) checkServices() {
	fake, _ := holds[endpoint.FakeLocation](c.Node.TubLocation)
	if c.Node.Listens {
		if fake && c.Storage.Enabled && !c.TorOnly() {
			c.warn("node", "tub.location", "client.fakelocation:0 tells nobody where this storage server is", "")
		}
		return
	}
	if c.Kind == IntroducerNode {
		c.problem("node", "tub.port", "an introducer that listens nowhere serves nobody", "give tub.port and tub.location")
		return
	}
	remedy := "say where it listens in [node] tub.port and tub.location, or set [%s] enabled = false"
	if c.Storage.Enabled {
		const why = "nobody can reach this storage server: the node does not listen"
		if c.fakeLocation || !c.has("storage", "enabled") {
			c.Storage.Enabled = false
			c.warn("storage", "enabled", why+", so there is none", fmt.Sprintf(remedy, "storage"))
		} else {
			c.problem("storage", "enabled", why, fmt.Sprintf(remedy, "storage"))
		}
	}
	if c.Helper.Enabled {
		c.problem("helper", "enabled", "nobody can reach this helper: the node does not listen", fmt.Sprintf(remedy, "helper"))
	}
}

func (c *Config) checkWeb() {
	iface := "127.0.0.1"
	switch p := c.Node.WebPort.(type) {
	case nil, endpoint.Unix, endpoint.Systemd:
	case endpoint.TCP:
		if _, err := netip.ParseAddr(p.Interface); err != nil && p.Interface != "" {
			c.Node.WebHost, p.Interface = p.Interface, "127.0.0.1" // a name is not looked up
		}
		p = c.hidePort("web.port", p)
		c.Node.WebPort, iface = p, p.Interface
	case endpoint.SSL:
		p.Interface = c.hidePort("web.port", endpoint.TCP{Interface: p.Interface}).Interface
		c.Node.WebPort, iface = p, p.Interface
	default:
		c.problem("node", "web.port", fmt.Sprintf("the web gateway cannot listen on %s", p), "write tcp:3456:interface=127.0.0.1")
	}
	if iface == "" {
		c.warn("node", "web.port", "the gateway listens on every address of this machine: all who reach it can use this node", "write interface=127.0.0.1 unless that is wanted")
	}
}

// checkPrivate warns of a folder of secrets that is open to others.
func (c *Config) checkPrivate() {
	info, err := os.Stat(c.Private(""))
	if err == nil && modesMean && info.Mode().Perm()&0o077 != 0 {
		c.Warnings = append(c.Warnings, Problem{File: PrivateDir, Why: "others on this machine may look into it", Remedy: "chmod 700 it"})
	}
}

// checkHandlers looks at the connections: of servers. What cannot be meant is a
// warning: one server must not keep a node from the others.
func (c *Config) checkHandlers() {
	for _, s := range c.Servers {
		for _, kind := range slices.Sorted(maps.Keys(s.Handlers)) {
			carrier, why := s.Handlers[kind], ""
			switch {
			case kind != "tcp" && kind != "tor" && kind != "i2p":
				why = fmt.Sprintf("connections: %q is no kind of address", kind)
			case kind == "tcp" && carrier == "tcp" && c.TorOnly():
				why = "connections: tcp: tcp does not count: " + c.hidden() + " so this server is reached through Tor as well"
			case kind == "tcp" && carrier == "tor" && !c.Tor.Enabled:
				why = "connections: tcp: tor needs Tor, and [tor] enabled = false switches it off: the server is not reached"
			case carrier != kind && carrier != "" && carrier != "disabled" && !(kind == "tcp" && carrier == "tor"):
				why = fmt.Sprintf("connections: %s: %s cannot be, so its %s: addresses are not used", kind, carrier, kind)
			}
			if why != "" {
				c.Warnings = append(c.Warnings, Problem{File: serversFile, Key: clipID(s.ID), Why: why})
			}
		}
	}
}

func (c *Config) checkTor() {
	t := &c.Tor
	for _, k := range []struct {
		key string
		set bool
	}{{"socks.port", t.SocksPort != nil}, {"control.port", t.Control != nil}} {
		if t.Launch && k.set {
			c.warn("tor", k.key, "not used, as launch is on", "")
		}
	}
	if !t.Onion {
		return
	}
	need := func(key string, ok bool) {
		if !ok && c.raw("tor", key) == "" {
			c.problem("tor", "onion", "an onion service needs "+key+", which is missing", "")
		}
	}
	need("onion.local_port", t.LocalPort > 0)
	need("onion.external_port", t.Port > 0)
	need("onion.private_key_file", t.KeyFile != "")
	if !t.Enabled {
		c.problem("tor", "onion", "an onion service needs Tor, and enabled = false switches it off", "set enabled = true or onion = false")
	}
	if !t.Launch && t.Control == nil {
		c.problem("tor", "onion", "an onion service needs a tor to publish it", "set control.port to that of a running tor, or launch = true")
	}
	c.checkKeyFile("tor", "onion.private_key_file", t.KeyFile, true)
}

func (c *Config) checkClient() {
	k := c.Client
	if c.Kind == IntroducerNode {
		return
	}
	if !(k.Needed <= k.Happy && k.Happy <= k.Total) {
		key := "shares.happy"
		if k.Needed > k.Total {
			key = "shares.needed"
		}
		c.problem("client", key, fmt.Sprintf("needed (%d), happy (%d) and total (%d) must not go down in this order", k.Needed, k.Happy, k.Total), "")
	}
	if !k.KeyGenerator.IsZero() {
		c.warn("client", "key_generator.furl", "obsolete and ignored", "delete the line")
	}
	if len(k.Preferred) > 0 {
		c.warn("client", "peers.preferred", "has no effect yet", "")
	}
}

func (c *Config) checkExpire() {
	e := c.Storage.Expire
	if e.Enabled && e.Mode == "" {
		c.problem("storage", "expire.mode", "expire.enabled needs a mode", "set expire.mode to age or cutoff-date")
	}
	if e.Mode == "cutoff-date" && e.Cutoff.IsZero() && !c.has("storage", "expire.cutoff_date") {
		c.problem("storage", "expire.cutoff_date", "the mode cutoff-date needs a date", "set expire.cutoff_date = YYYY-MM-DD")
	}
	if e.Mode == "cutoff-date" && e.Duration > 0 {
		c.warn("storage", "expire.override_lease_duration", "has no effect in the mode cutoff-date", "")
	}
	if e.Mode == "age" && !e.Cutoff.IsZero() {
		c.warn("storage", "expire.cutoff_date", "has no effect in the mode age", "")
	}
}

func (c *Config) checkSFTPD() {
	if !c.SFTPD.Enabled {
		return
	}
	for _, k := range []struct{ key, path string }{
		{"accounts.file", c.SFTPD.Accounts},
		{"host_pubkey_file", c.SFTPD.PubKey},
		{"host_privkey_file", c.SFTPD.PrivKey},
	} {
		if k.path == "" && c.raw("sftpd", k.key) == "" {
			c.problem("sftpd", "enabled", "the SFTP server needs "+k.key+", which is missing", "")
		}
	}
}

// isOnionHint reports whether a location is reached through Tor only.
func isOnionHint(v endpoint.Value) bool {
	switch h := v.(type) {
	case endpoint.Onion:
		return true
	case endpoint.Hint:
		return h.Kind == furl.Tor && furl.IsOnion(h.Host)
	}
	return false
}
