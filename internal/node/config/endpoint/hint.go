package endpoint

import (
	"fmt"
	"net"
	"strings"

	"tahoe-go/internal/format/furl"
)

// Hint is a place to be found, as it goes into fURLs. SocksPort is the
// operator's wish for tor: hints and stays at home; it may be nil.
type Hint struct {
	furl.Hint
	SocksPort Value
}

func (h Hint) String() string {
	if h.SocksPort == nil {
		return h.Hint.String()
	}
	return text("tor", "", h.Host, "", fmt.Sprint(h.Port), "socksPort", h.SocksPort.String())
}

var tcpHint = kind{"tcp", "tcp:HOST:PORT", []string{"host", "port"}, func(f *fields) Value {
	h := buildHint(f, furl.TCP)
	if furl.IsOnion(h.Host) {
		f.fail(f.kind.pos, "an onion address is reached through Tor: write tor:%s:%d", h.Host, h.Port)
	}
	return h
}}

var torHint = kind{"tor", "tor:HOST:PORT", []string{"host", "port", "", "socksPort"}, func(f *fields) Value {
	h := buildHint(f, furl.Tor)
	if furl.IsOnion(h.Host) {
		if err := checkOnion(h.Host); err != nil {
			f.fail(f.args["host"].pos, "%v", err)
		}
	}
	if f.has("socksPort") && f.err == nil {
		h.SocksPort = nestedDial(f, "socksPort")
	}
	return h
}}

var i2pHint = kind{"i2p", "i2p:DEST[:PORT]", []string{"destination", "port"}, func(f *fields) Value {
	dest := f.need("destination")
	if f.has("port") {
		dest = fmt.Sprintf("%s:%d", dest, f.port("port", 1))
	}
	return readHint(f, "i2p:"+dest, furl.I2P)
}}

// checkOnion is furl's, with the cure for what was right once.
func checkOnion(host string) error {
	err := furl.CheckOnion(host)
	if label := strings.TrimSuffix(strings.ToLower(host), ".onion"); err != nil && len(label) == 16 {
		return fmt.Errorf("%w; make a version 3 service, whose name has 56 letters (onion:PORT does), and tell others the new name", err)
	}
	return err
}

func buildHint(f *fields, k furl.Kind) Hint {
	host, port := f.need("host"), f.port("port", 1)
	return readHint(f, string(k)+":"+net.JoinHostPort(host, fmt.Sprint(port)), k)
}

// readHint lets furl judge the text that others will have to read.
func readHint(f *fields, s string, k furl.Kind) Hint {
	if f.err != nil {
		return Hint{}
	}
	h, err := furl.ParseHint(s)
	if err != nil || h.Kind != k || h.Legacy {
		f.fail(f.kind.pos, "%q is not a place that others can be told", s)
	}
	return Hint{Hint: h}
}

// legacyHint reads HOST:PORT, which means tcp, or Tor if the host is an
// onion name.
func legacyHint(text string, host, port token) (Value, error) {
	if host.text == "client.fakelocation" && port.text == "0" {
		return FakeLocation{}, nil
	}
	h, err := furl.ParseHint(net.JoinHostPort(host.text, port.text))
	if err != nil || h.Kind != furl.TCP {
		return nil, newError(text, min(host.pos, len(text)), fmt.Sprintf("neither a known kind of hint (%s) nor HOST:PORT", "tcp, tor, i2p, onion"))
	}
	if furl.IsOnion(h.Host) {
		if err := checkOnion(h.Host); err != nil {
			return nil, newError(text, host.pos, err.Error())
		}
		return Hint{Hint: furl.Hint{Kind: furl.Tor, Host: h.Host, Port: h.Port}}, nil
	}
	h.Legacy = true
	return Hint{Hint: h}, nil
}
