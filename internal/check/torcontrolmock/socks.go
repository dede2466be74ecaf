package torcontrolmock

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"

	"tahoe-go/internal/network/netx"
)

// The replies the mock gives.
const (
	socksOK       = 0x00
	socksFailed   = 0x01
	socksRefused  = 0x05
	socksTimedOut = 0x06
	socksBadCmd   = 0x07
	onionUnknown  = 0xF0
)

// serveSOCKS answers one request and carries the bytes of an onion connection.
func (t *Tor) serveSOCKS(c net.Conn) {
	user, password, cmd, host, port, err := readRequest(c)
	if err != nil {
		return
	}
	if cmd == 0xF0 { // RESOLVE: echoes an IP literal
		ip, err := netip.ParseAddr(host)
		if err != nil {
			reply(c, socksFailed, nil)
			return
		}
		reply(c, socksOK, ip.AsSlice())
		return
	}
	t.mu.Lock()
	t.streams = append(t.streams, Stream{User: user, Password: password, Host: host, Port: port})
	bootstrapped := t.progress == 100
	t.mu.Unlock()
	if t.cfg.SOCKSReply != nil {
		if code, refuse := t.cfg.SOCKSReply(host, user); refuse {
			reply(c, code, nil)
			return
		}
	}
	switch {
	case cmd != 1:
		reply(c, socksBadCmd, nil)
	case !bootstrapped:
		<-t.ctx.Done() // tor would wait for SocksTimeout
		reply(c, socksTimedOut, nil)
	case strings.HasSuffix(host, ".onion"):
		t.carry(c, strings.TrimSuffix(host, ".onion"), port)
	default:
		reply(c, socksOK, nil)
		io.Copy(c, c) // every host of the world is an echo
	}
}

// readRequest reads greeting, credentials and request.
func readRequest(c net.Conn) (user, password string, cmd byte, host string, port int, err error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(c, b)
		}
		return b
	}
	text := func() string { return string(read(int(read(1)[0]))) }
	if read(1)[0] != 5 {
		err = errors.New("no SOCKS5")
		return
	}
	switch methods := text(); {
	case strings.Contains(methods, "\x02"):
		c.Write([]byte{5, 2})
		read(1)
		user, password = text(), text()
		c.Write([]byte{1, 0})
	case strings.Contains(methods, "\x00"):
		c.Write([]byte{5, 0})
	default:
		c.Write([]byte{5, 0xFF})
		err = errors.New("no method")
		return
	}
	head := read(4)
	cmd = head[1]
	if head[3] != 3 { // a client of Tor has no business with addresses
		err = errors.New("request by address")
		return
	}
	host = text()
	port = int(binary.BigEndian.Uint16(read(2)))
	return
}

func reply(c net.Conn, code byte, ip []byte) {
	atyp := byte(1)
	if ip == nil {
		ip = make([]byte, 4)
	}
	if len(ip) == 16 {
		atyp = 4
	}
	c.Write(append(append([]byte{5, code, 0, atyp}, ip...), 0, 0))
}

// carry joins c with the target of an onion service.
func (t *Tor) carry(c net.Conn, id string, port int) {
	n := t.cfg.Net
	n.mu.Lock()
	p := n.services[id]
	up := p != nil && p.Uploaded
	n.mu.Unlock()
	switch {
	case !up:
		reply(c, onionUnknown, nil)
		return
	case p.Port != port && p.Ports[port] == "":
		reply(c, socksRefused, nil)
		return
	}
	at := p.Ports[port]
	if at == "" {
		at = p.Target
	}
	target, err := p.tor.dialTarget(at)
	if err != nil {
		reply(c, socksFailed, nil)
		return
	}
	defer p.tor.untrack(target)
	reply(c, socksOK, nil)
	done := make(chan struct{})
	t.wg.Go(func() {
		defer close(done)
		pass(target, c)
		target.Close()
	})
	pass(c, target)
	c.Close()
	<-done
}

// pass copies without the pipes that the standard library would keep for it,
// which look like a leak.
func pass(to io.Writer, from io.Reader) {
	io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}

// dialTarget connects the service's tor to where it delivers.
func (t *Tor) dialTarget(target string) (net.Conn, error) {
	a := netx.Addr{Kind: netx.Unix}
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		if t.cfg.NoUnix {
			return nil, errors.New("sandboxed")
		}
		a.Host = path
	} else {
		ap, err := netip.ParseAddrPort(target)
		if err != nil {
			return nil, err
		}
		a = netx.Addr{Kind: netx.TCP, Host: ap.Addr().String(), Port: int(ap.Port())}
	}
	c, err := t.cfg.Host.Dial(t.ctx, a)
	if err == nil && !t.track(c) {
		err = errors.New("stopped")
	}
	return c, err
}
