package config

import (
	"fmt"
	"slices"

	"tahoe-go/internal/node/config/endpoint"
)

// OnionMemory is the file in which a node keeps what tor has told of services
// whose key is in a folder of tor's.
const OnionMemory = "private/onion-services"

// Onions are the services that the onion: endpoints of tub.location and
// tub.port ask for, each once. Each has a folder of tor's or a key file; the one
// of section [tor] is not among them.
func (c *Config) Onions() []endpoint.Onion {
	var all []endpoint.Onion
	for _, v := range slices.Concat(c.Node.TubLocation, c.Node.TubPort) {
		if o, ok := v.(endpoint.Onion); ok && !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	return all
}

// settleOnions fills in what onion: endpoints leave open, before anything else
// looks at them.
func (c *Config) settleOnions() {
	n := &c.Node
	c.settleOnionList("tub.port", n.TubPort)
	c.settleOnionList("tub.location", n.TubLocation)
	if slices.ContainsFunc(n.TubPort, isOnion) && !c.has("node", "tub.location") {
		// To listen there is to be found there.
		if slices.ContainsFunc(n.TubPort, isTCP) && !c.TorOnly() {
			n.TubLocation = append(n.TubLocation, endpoint.Auto{})
		}
		for _, v := range n.TubPort {
			if isOnion(v) {
				n.TubLocation = append(n.TubLocation, v)
			}
		}
	}
	c.checkOnions()
}

func (c *Config) settleOnionList(key string, list []endpoint.Value) {
	for i, v := range list {
		o, ok := v.(endpoint.Onion)
		if !ok {
			continue
		}
		if o.HiddenServiceDir == "" && o.PrivateKeyFile == "" {
			o.PrivateKeyFile = c.Tor.KeyFile
			if o.PrivateKeyFile == "" {
				o.PrivateKeyFile = c.Private(onionKeyName)
			}
		}
		o.ControlPort = c.oneControl(key, o.ControlPort)
		if o.SingleHop {
			c.problem("node", key, "singleHop gives this machine's address away, and is not supported", "leave it out")
		}
		list[i] = o
	}
}

// oneControl makes a service's own control port that of the node, which has
// one tor.
func (c *Config) oneControl(key string, v endpoint.Value) endpoint.Value {
	switch {
	case v == nil:
	case c.Tor.Launch:
		c.warn("node", key, "controlPort is not used, as [tor] launch is on", "")
	case c.Tor.Control == nil && c.raw("tor", "control.port") == "":
		c.Tor.Control = v
	case c.Tor.Control != nil && c.Tor.Control != v:
		c.problem("node", key, fmt.Sprintf("controlPort is %s here, and elsewhere %s: a node uses one tor", v, c.Tor.Control), "leave one of them out")
	}
	return nil
}

func (c *Config) checkOnions() {
	onions := c.Onions()
	key := "tub.location"
	if !slices.ContainsFunc(c.Node.TubLocation, isOnion) || !c.has("node", key) {
		key = "tub.port"
	}
	if len(onions) > 0 && !c.Tor.Enabled {
		c.problem("node", key, "an onion service needs Tor, and [tor] enabled = false switches it off", "set [tor] enabled = true, or name no onion: here")
	}
	services := map[string]bool{}
	if c.Tor.Onion {
		services[c.Tor.KeyFile] = true
	}
	for _, o := range onions {
		at := o.HiddenServiceDir + o.PrivateKeyFile // one is empty
		if services[at] {
			c.problem("node", key, fmt.Sprintf("the onion service of %s is set up twice, here or by [tor] onion = true", at), "delete one of the two")
		}
		services[at] = true
		if o.PrivateKeyFile != "" {
			c.checkKeyFile("node", key, o.PrivateKeyFile, false)
			c.checkLocalPort(key, o.LocalPort)
		}
	}
}

// checkLocalPort: what tor delivers to is not open to others as well.
func (c *Config) checkLocalPort(key string, local int) {
	for _, v := range c.Node.TubPort {
		p, ok := v.(endpoint.TCP)
		if ok && local != 0 && p.Port == local && !p.Loopback() && !(c.TorOnly() && p.Interface == "") {
			c.problem("node", key, fmt.Sprintf("localPort = %d is a port of tub.port too, which others reach directly", local), "choose another localPort, or leave it out")
		}
	}
}

// checkDelivered: an onion address that is set up elsewhere leads to a port of
// this node, and which that is nobody but the operator knows.
func (c *Config) checkDelivered() {
	n := &c.Node
	if len(n.TubPort) > 0 || c.has("node", "tub.port") || c.Tor.Onion || len(n.TubLocation) == 0 ||
		slices.ContainsFunc(n.TubLocation, func(v endpoint.Value) bool { return !isOnionHint(v) || isOnion(v) }) {
		return
	}
	c.warn("node", "tub.location", "it says where others knock, and nothing says where tor delivers that: the node listens on a port of 127.0.0.1 that it writes to "+PortFile,
		"set tub.port to the port in the HiddenServicePort line of torrc, as tcp:8098:interface=127.0.0.1; or have the node set up the service: tub.location = onion:PORT")
}
