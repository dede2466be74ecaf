package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/node/config/endpoint"
)

// DefaultWebPort is where a new node's web gateway listens.
const DefaultWebPort = "tcp:3456:interface=127.0.0.1"

// DefaultIntroducerWebPort is where the page of an introducer may be had; a new
// one has none.
const DefaultIntroducerWebPort = "tcp:3457:interface=127.0.0.1"

// CreateOptions says what a new node directory is for. Each field is the
// option of tahoe create-node, create-client or create-introducer with the same
// name; Check judges them.
type CreateOptions struct {
	Kind       Kind // "" is ClientNode
	Nickname   string
	Introducer redact.Secret // fURL
	WebPort    string        // "": DefaultWebPort, none for an introducer; "none": no gateway
	Needed     int           // 0: 3
	Happy      int           // 0: 7
	Total      int           // 0: 10

	NoStorage  bool
	StorageDir string
	Helper     bool

	HideIP   bool
	Listen   []string // of tcp, tor, i2p and none; nil: tcp
	Hostname string
	Port     string
	Location string

	TorLaunch      bool
	TorExecutable  string
	TorControlPort string // "" with Listen tor and no TorLaunch: DefaultTorControl

	// Onion is the address to be reached at, for Listen tor.
	Onion Onion
	// FreePort returns a TCP port that nobody listens on, for Hostname, and for
	// Onion without LocalPort.
	FreePort func() (int, error)
}

// Onion is an onion service made beforehand.
type Onion struct {
	Host      string        // NAME.onion
	Key       redact.Secret // as ADD_ONION takes it: ED25519-V3:…
	Port      int           // inside the onion address; 0: 443
	LocalPort int           // 0: a free one
}

// DefaultTorControl is the control port of Debian's tor.
const DefaultTorControl = "unix:/var/run/tor/control"

// OptionErrors are all that is wrong with the options, one a line.
type OptionErrors []string

func (e OptionErrors) Error() string { return strings.Join(e, "\n") }

// Check returns nil or OptionErrors.
func (o CreateOptions) Check() error {
	o = o.withDefaults()
	var c optionCheck
	c.where(o)
	c.tor(o)
	c.rest(o)
	if len(c.errs) == 0 {
		return nil
	}
	return c.errs
}

func (o CreateOptions) withDefaults() CreateOptions {
	if o.Kind == "" {
		o.Kind = ClientNode
	}
	if len(o.Listen) == 0 {
		o.Listen = []string{"tcp"}
	}
	if o.WebPort == "" {
		o.WebPort = DefaultWebPort
		if o.Kind == IntroducerNode {
			o.WebPort = "none"
		}
	}
	for _, n := range []struct {
		p   *int
		def int
	}{{&o.Needed, 3}, {&o.Happy, 7}, {&o.Total, 10}, {&o.Onion.Port, 443}} {
		if *n.p == 0 {
			*n.p = n.def
		}
	}
	if o.TorControlPort == "" && !o.TorLaunch && o.listens("tor") {
		o.TorControlPort = DefaultTorControl
	}
	return o
}

func (o CreateOptions) listens(kind string) bool { return slices.Contains(o.Listen, kind) }

type optionCheck struct{ errs OptionErrors }

func (c *optionCheck) need(ok bool, format string, a ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Sprintf(format, a...))
	}
}

// where judges the options that say where the node listens.
func (c *optionCheck) where(o CreateOptions) {
	known := []string{"tcp", "tor", "i2p", "none"}
	for _, l := range o.Listen {
		c.need(slices.Contains(known, l), "--listen takes one or more of tcp, tor, i2p and none, not %q", l)
	}
	tcp, none := o.listens("tcp"), o.listens("none")
	pair := o.Port != "" || o.Location != ""
	c.need(!none || len(o.Listen) == 1, "--listen=none stands alone: a node listens or it does not")
	c.need(!none || o.Hostname == "", "--hostname makes no sense with --listen=none")
	c.need(!none || !pair, "--port and --location make no sense with --listen=none")
	c.need(o.Location == "" || o.Port != "", "--location needs --port too: where to listen")
	c.need(o.Port == "" || o.Location != "", "--port needs --location too: what to tell others")
	c.need(!pair || o.Hostname == "", "--hostname is a short form of --port and --location: give one or the other")
	c.need(!pair || tcp || none, "--port and --location belong to --listen=tcp; for Tor, --listen=tor finds both")
	c.need(o.Hostname == "" || tcp || none, "--hostname belongs to --listen=tcp")
	if tcp && !pair && o.Hostname == "" {
		if o.HideIP {
			c.need(false, "--hide-ip does not go with --listen=tcp (the default), which tells everyone this node's address: add --listen=tor to be reached by an onion address, or --listen=none not to be reached")
		} else {
			c.need(false, "--listen=tcp (the default) needs --hostname=NAME, the name or address that others reach this node by; or choose --listen=tor or --listen=none")
		}
	}
	c.need(!o.HideIP || !tcp || o.Hostname == "", "--hide-ip does not go with --hostname, which tells everyone where this node is: use --listen=tor")
	if o.Hostname != "" {
		h, err := furl.ParseHint("tcp:" + bracket(o.Hostname) + ":1")
		c.need(err == nil && h.Kind == furl.TCP && !h.Legacy && !furl.IsOnion(o.Hostname), "--hostname=%s is not a host name or an IP address", o.Hostname)
	}
	if o.Port != "" {
		_, err := endpoint.ParseList(endpoint.Listen, o.Port)
		c.need(err == nil, "--port: %v", err)
	}
	if o.Location != "" {
		_, err := endpoint.ParseList(endpoint.Location, o.Location)
		c.need(err == nil, "--location: %v", err)
	}
}

func bracket(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

func (c *optionCheck) tor(o CreateOptions) {
	tor := o.listens("tor")
	uses := tor || o.HideIP || o.listens("none") // else the wish was most likely to be an onion service
	c.need(!o.TorLaunch || uses, "--tor-launch needs --listen=tor, --hide-ip or --listen=none: nothing else would use that tor")
	c.need(o.TorControlPort == "" || uses, "--tor-control-port needs --listen=tor, --hide-ip or --listen=none: nothing else would use that tor")
	c.need(!o.TorLaunch || o.TorControlPort == "", "--tor-launch starts a tor and --tor-control-port names a running one: give one of the two")
	c.need(o.TorExecutable == "" || o.TorLaunch, "--tor-executable needs --tor-launch")
	c.need(!o.listens("i2p"), "--listen=i2p: I2P is not supported yet")
	if o.TorControlPort != "" {
		_, err := endpoint.Parse(endpoint.Dial, o.TorControlPort)
		c.need(err == nil, "--tor-control-port: %v", err)
	}
	if tor {
		err := furl.CheckOnion(o.Onion.Host)
		c.need(err == nil && strings.HasPrefix(o.Onion.Key.Reveal(), "ED25519-V3:"), "--listen=tor: there is no onion address (%v)", err)
	}
}

func (c *optionCheck) rest(o CreateOptions) {
	c.need(1 <= o.Needed && o.Needed <= o.Happy && o.Happy <= o.Total && o.Total <= 256,
		"--shares-needed=%d, --shares-happy=%d and --shares-total=%d must be between 1 and 256 and must not go down in this order", o.Needed, o.Happy, o.Total)
	if !o.Introducer.IsZero() {
		_, err := furl.ParseFURL(o.Introducer.Reveal())
		c.need(err == nil, "--introducer: %v", err)
	}
	if !strings.EqualFold(o.WebPort, "none") {
		_, err := endpoint.Parse(endpoint.Web, o.WebPort)
		c.need(err == nil, "--webport: %v", err)
	}
	for _, t := range []struct{ name, text string }{{"nickname", o.Nickname}, {"storage-dir", o.StorageDir}, {"tor-executable", o.TorExecutable}} {
		c.need(oneLine(t.text) == nil, "--%s: %v", t.name, oneLine(t.text))
	}
}

// oneLine refuses what tahoe.cfg cannot hold.
func oneLine(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) || strings.TrimSpace(s) != s {
		return errors.New("line breaks, control characters and blanks at the ends are not possible")
	}
	return nil
}
