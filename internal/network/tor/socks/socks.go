// Package socks is a SOCKS5 client for Tor's SOCKS port.
//
// It sends names, never addresses it looked up: there is no resolver here. It
// opens no connection of its own either; the caller hands in one to the proxy.
// The context's deadline covers the whole handshake, and a refusal is an *Error
// whose text says what it means for an onion service.
//
// Specifications: RFC 1928 (SOCKS5), RFC 1929 (user and password), Tor's
// socks-extensions and proposal 304 (replies F0 to F7). Start with Connect.
package socks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Auth holds the user and password that choose a circuit: Tor never puts two
// connections with different ones on the same circuit. Each is 1 to 255 bytes.
// The zero Auth asks for none.
type Auth struct {
	User, Password string
}

// ErrNotTor says that a proxy speaks SOCKS5 but is not Tor.
var ErrNotTor = errors.New("this SOCKS5 proxy is not Tor")

// ErrProtocol says that the other end does not speak SOCKS5 as it should.
var ErrProtocol = errors.New("not a SOCKS5 proxy")

const (
	version     = 5
	authNone    = 0
	authUser    = 2
	authVersion = 1

	cmdConnect = 0x01
	cmdResolve = 0xF0 // Tor's own

	atypIPv4 = 1
	atypName = 3
	atypIPv6 = 4
)

// Connect asks the proxy at the other end of conn to connect to host:port.
// After nil, conn carries the bytes of that connection and has no deadline.
// After an error conn is in no useful state and the caller closes it. Host is
// sent as a name in every case, an IP literal too.
func Connect(ctx context.Context, conn net.Conn, auth Auth, host string, port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("port %d is not between 1 and 65535", port)
	}
	return handshake(ctx, conn, func() error {
		_, err := request(conn, auth, cmdConnect, host, port)
		return err
	})
}

// Probe reports with nil that the other end of conn is Tor's SOCKS port. It asks
// Tor's own RESOLVE for an IP literal from a block reserved for documentation,
// which Tor answers on the spot, without a circuit and without a word in its
// log, and which other proxies refuse. The connection is spent afterwards.
func Probe(ctx context.Context, conn net.Conn) error {
	want := netip.AddrFrom4([4]byte{192, 0, 2, 1})
	return handshake(ctx, conn, func() error {
		got, err := request(conn, Auth{}, cmdResolve, want.String(), 0)
		if refused, ok := errors.AsType[*Error](err); ok {
			return fmt.Errorf("%w: it answers Tor's RESOLVE with %#02x", ErrNotTor, byte(refused.Code))
		}
		if err == nil && got != want {
			return fmt.Errorf("%w: it answers Tor's RESOLVE wrongly", ErrNotTor)
		}
		return err
	})
}

// handshake runs do with conn's deadline tied to ctx.
func handshake(ctx context.Context, conn net.Conn, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.SetDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	err := do()
	if !stop() {
		<-interrupted // so that no late deadline hits the caller
		return ctx.Err()
	}
	return err
}

// request does one SOCKS5 exchange: method, credentials, command, reply. It
// returns the address in the reply if that is an IP address.
func request(conn net.Conn, auth Auth, cmd byte, host string, port int) (netip.Addr, error) {
	if len(host) < 1 || len(host) > 255 {
		return netip.Addr{}, fmt.Errorf("a host of %d bytes does not fit into SOCKS5", len(host))
	}
	if err := greet(conn, auth); err != nil {
		return netip.Addr{}, err
	}
	msg := append([]byte{version, cmd, 0, atypName, byte(len(host))}, host...)
	if _, err := conn.Write(binary.BigEndian.AppendUint16(msg, uint16(port))); err != nil {
		return netip.Addr{}, fmt.Errorf("sending the SOCKS request: %w", err)
	}
	return readReply(conn)
}

// greet agrees on a method and sends the credentials.
func greet(conn net.Conn, auth Auth) error {
	method := byte(authNone)
	if auth != (Auth{}) {
		if len(auth.User) < 1 || len(auth.User) > 255 || len(auth.Password) < 1 || len(auth.Password) > 255 {
			return errors.New("SOCKS user and password must have 1 to 255 bytes each")
		}
		method = authUser
	}
	if _, err := conn.Write([]byte{version, 1, method}); err != nil {
		return fmt.Errorf("greeting the SOCKS proxy: %w", err)
	}
	if err := expect(conn, version, method, "greeting"); err != nil {
		return err
	}
	if method == authNone {
		return nil
	}
	msg := append([]byte{authVersion, byte(len(auth.User))}, auth.User...)
	msg = append(append(msg, byte(len(auth.Password))), auth.Password...)
	if _, err := conn.Write(msg); err != nil {
		return fmt.Errorf("sending the SOCKS credentials: %w", err)
	}
	return expect(conn, authVersion, 0, "credentials")
}

// expect reads a two-byte answer that must be ver and value.
func expect(conn net.Conn, ver, value byte, to string) error {
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("reading the SOCKS answer to the %s: %w", to, err)
	}
	if answer[0] != ver {
		return fmt.Errorf("%w: answer to the %s begins with %#02x", ErrProtocol, to, answer[0])
	}
	if answer[1] != value {
		return fmt.Errorf("the SOCKS proxy does not accept our %s (%#02x)", to, answer[1])
	}
	return nil
}

// readReply reads the reply to a request and not a byte more: what follows
// belongs to the caller. At most 262 bytes.
func readReply(r io.Reader) (netip.Addr, error) {
	none := netip.Addr{}
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return none, fmt.Errorf("reading the SOCKS reply: %w", err)
	}
	if head[0] != version || head[2] != 0 {
		return none, fmt.Errorf("%w: reply begins with % x", ErrProtocol, head)
	}
	var size int
	switch head[3] {
	case atypIPv4:
		size = 4
	case atypIPv6:
		size = 16
	case atypName:
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return none, fmt.Errorf("reading the SOCKS reply: %w", err)
		}
		size = int(n[0])
	default:
		return none, fmt.Errorf("%w: reply with address type %#02x", ErrProtocol, head[3])
	}
	rest := make([]byte, size+2) // the address and a port
	if _, err := io.ReadFull(r, rest); err != nil {
		return none, fmt.Errorf("reading the SOCKS reply: %w", err)
	}
	if head[1] != 0 {
		return none, &Error{Code: Code(head[1])}
	}
	if head[3] == atypName {
		return none, nil
	}
	addr, _ := netip.AddrFromSlice(rest[:size])
	return addr, nil
}
