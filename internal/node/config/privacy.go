package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/node/config/endpoint"
)

// checkPrivacy holds a Tor-only node to its promise: whatever would tell
// others where it is, is a problem.
func (c *Config) checkPrivacy() {
	c.checkSpellings()
	c.checkCarrier()
	if !c.TorOnly() {
		return
	}
	if c.options.Torsocks {
		c.settleFakeLocation()
	}
	for _, v := range c.Node.TubLocation {
		c.checkHiddenHint(v)
	}
	if !c.Node.LogGatherer.IsZero() {
		c.problem("node", "log_gatherer.furl", c.hidden()+" and logs name addresses", "delete the line")
	}
	for _, k := range []struct {
		key string
		v   endpoint.Value
	}{{"socks.port", c.Tor.SocksPort}, {"control.port", c.Tor.Control}} {
		if d, ok := k.v.(endpoint.DialTCP); ok && !d.IsIP() && !d.Local() {
			c.problem("tor", k.key, fmt.Sprintf("%s and %q would have to be looked up in the clear", c.hidden(), d.Host), "write its IP address")
		}
	}
	if p, ok := c.SFTPD.Port.(endpoint.TCP); ok && c.SFTPD.Enabled {
		if p.Interface != "" && !p.Loopback() {
			c.problem("sftpd", "port", fmt.Sprintf("%s and %s is open to others", c.hidden(), p), "write interface=127.0.0.1")
		} else if p.Interface == "" {
			p.Interface = loopback(p)
			c.SFTPD.Port = p
		}
	}
}

// hidden names the wish that a problem stands against.
func (c *Config) hidden() string {
	switch {
	case !c.Node.RevealIP:
		return "reveal-IP-address = false asks to hide this node,"
	case c.Node.TorOnly:
		return "tor_only.enabled = true asks to hide this node,"
	}
	return "being started under torsocks asks to hide this node,"
}

// checkSpellings: where the wish is written twice, it must be the same wish.
func (c *Config) checkSpellings() {
	const reveal, only = "reveal-IP-address", "tor_only.enabled"
	if c.has("node", reveal) && c.has("node", only) && c.Node.RevealIP == c.Node.TorOnly {
		c.problem("node", only, fmt.Sprintf("%s = %t and %s = %t contradict each other", only, c.Node.TorOnly, reveal, c.Node.RevealIP), "delete one of the two")
	}
	if c.options.Torsocks && c.has("node", only) && !c.Node.TorOnly {
		c.problem("node", only, "started under torsocks, which asks to hide this node, but tor_only.enabled = false", "set it to true, or start the node without torsocks")
	}
	if c.options.Torsocks && c.has("node", reveal) && c.Node.RevealIP {
		c.problem("node", reveal, "started under torsocks, which asks to hide this node, but reveal-IP-address = true", "set it to false, or start the node without torsocks")
	}
}

// checkCarrier settles what carries tcp: connections.
func (c *Config) checkCarrier() {
	if (c.Node.TorOnly || c.options.Torsocks) && !c.has("connections", "tcp") {
		c.Connections.TCP = "tor"
	}
	switch c.Connections.TCP {
	case "tcp":
		if c.TorOnly() {
			c.problem("connections", "tcp", c.hidden()+" but connections to tcp: addresses would go out directly", "set [connections] tcp = tor, or tcp = disabled")
		}
	case "tor":
		if !c.Tor.Enabled {
			c.problem("connections", "tcp", "tcp = tor needs Tor, and [tor] enabled = false switches it off", "set [tor] enabled = true, or tcp = disabled")
		}
	}
}

func (c *Config) settleFakeLocation() {
	if alone, _ := holds[endpoint.FakeLocation](c.Node.TubLocation); alone {
		c.Node.TubLocation, c.fakeLocation = []endpoint.Value{endpoint.Unreachable{}}, true
	}
}

func (c *Config) checkHiddenHint(v endpoint.Value) {
	const good = "give an onion address (tor:NAME.onion:PORT), have one set up (onion:PORT), or write UNREACHABLE"
	switch h := v.(type) {
	case endpoint.Unreachable, endpoint.Disabled:
	case endpoint.Auto:
		c.problem("node", "tub.location", c.hidden()+" but AUTO tells everyone its addresses", good)
	case endpoint.FakeLocation:
		c.problem("node", "tub.location", "client.fakelocation:0 looks like an address to be found", "write UNREACHABLE")
	case endpoint.Hint:
		switch {
		case isOnionHint(v):
		case h.Kind == furl.I2P:
			c.problem("node", "tub.location", c.hidden()+" and I2P is not supported yet", good)
		default:
			c.problem("node", "tub.location", fmt.Sprintf("%s but %q tells everyone where it is", c.hidden(), h.String()), good)
		}
	}
}

// hidePort keeps a Tor-only node's port to this machine.
func (c *Config) hidePort(key string, p endpoint.TCP) endpoint.TCP {
	switch {
	case !c.TorOnly() || p.Loopback():
	case p.Interface == "":
		p.Interface = loopback(p)
	default:
		c.openPort(key, p.Interface)
	}
	return p
}

func (c *Config) openPort(key, iface string) {
	c.problem("node", key, fmt.Sprintf("%s but it would listen on %s, where others can find it", c.hidden(), iface), "write interface=127.0.0.1")
}

func (c *Config) raw(section, key string) string {
	text, _ := c.file.Raw(section, key)
	return text
}

func loopback(p endpoint.TCP) string {
	if p.IPv6 {
		return "::1"
	}
	return "127.0.0.1"
}

// checkKeyFile looks at the key of an onion service without keeping it. One
// that need not be there is made when the node runs.
func (c *Config) checkKeyFile(section, key, file string, must bool) {
	if file == "" {
		return
	}
	which := "it"
	if section == "node" { // the key holds more than the name of the file
		which = file
	}
	text, err := readLimited(file, 4096)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if must {
			c.problem(section, key, "the file is not there", "copy the key back: with another one the node has another address")
		}
	case err != nil:
		c.problem(section, key, "the file of the onion key cannot be read: "+reason(err), "")
	case bytes.HasPrefix(text, []byte("RSA1024:")):
		c.problem(section, key, which+" holds the key of a version 2 onion service, which Tor gave up in 2021", "make a new node directory, or a version 3 key and location")
	case !bytes.HasPrefix(text, []byte("ED25519-V3:")):
		c.problem(section, key, which+" holds no key of a version 3 onion service (ED25519-V3:…)", "")
	default:
		c.checkMode(section, key, file)
	}
}

// checkMode warns of a secret file that others may read.
func (c *Config) checkMode(section, key, file string) {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o077 == 0 || !modesMean {
		return
	}
	if dir, err := os.Stat(c.Private("")); err == nil && dir.Mode().Perm()&0o077 == 0 && strings.HasPrefix(file, c.Private("")) {
		return // the folder is closed
	}
	c.warn(section, key, "others on this machine may read the file", "chmod 600 "+file)
}

// reason is an error of the file system without the path.
func reason(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}
