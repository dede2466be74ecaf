// Package torsocks recognises that a program was started by torsocks (or
// torify, or usewithtor), and reads what torsocks was set to.
//
// torsocks puts itself between a program and the C library. A Go program makes
// its system calls itself, so torsocks does nothing to it, and its user would be
// exposed who asked not to be: whoever calls Detect must keep the promise
// instead. The package connects to nothing and decides nothing.
//
// Specification: torsocks(8), torsocks.conf(5). Start with Detect.
package torsocks

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
)

// DefaultFile is torsocks' configuration unless TORSOCKS_CONF_FILE names
// another.
const DefaultFile = "/etc/tor/torsocks.conf"

// maxFile bounds what is read of it, in bytes.
const maxFile = 64 << 10

// Settings are what torsocks was told of Tor.
type Settings struct {
	SOCKS netx.Addr // the zero Addr: it was told nothing
	// FromEnv says that the user chose SOCKS for this one start, by a variable.
	FromEnv  bool
	User     string // SOCKS credentials; both or neither
	Password redact.Secret
}

// variables whose mere presence shows that torsocks was meant to work.
var variables = []string{
	"TORSOCKS_CONF_FILE", "TORSOCKS_TOR_ADDRESS", "TORSOCKS_TOR_PORT", "TORSOCKS_USERNAME", "TORSOCKS_PASSWORD",
	"TORSOCKS_ISOLATE_PID", "TORSOCKS_ALLOW_INBOUND", "TORSOCKS_ENABLE_IPV6", "TORSOCKS_LOG_LEVEL",
}

// Started reports whether the environment (os.Getenv) is that of a program
// under torsocks. The script torsocks sets only LD_PRELOAD.
func Started(getenv func(string) string) bool {
	if strings.Contains(getenv("LD_PRELOAD"), "libtorsocks") {
		return true
	}
	for _, v := range variables {
		if getenv(v) != "" {
			return true
		}
	}
	return false
}

// Detect returns torsocks' settings, and false if the program was not started
// by it. The file is read, then the variables, which win. A setting that cannot
// be used is an error: to go by another would not be what was asked for. Of a
// file that is not there torsocks has its own opinion, Tor's usual port, and
// Settings none.
func Detect(getenv func(string) string) (s Settings, started bool, err error) {
	if !Started(getenv) {
		return s, false, nil
	}
	name := getenv("TORSOCKS_CONF_FILE")
	named := name != ""
	if !named {
		name = DefaultFile
	}
	var host, port, user, password string
	text, err := read(name)
	switch {
	case err == nil:
		keys := parse(text)
		host, port, user, password = keys["toraddress"], keys["torport"], keys["socks5username"], keys["socks5password"]
	case !named && errors.Is(err, fs.ErrNotExist):
	default:
		return s, true, fmt.Errorf("reading the configuration of torsocks: %w", err)
	}
	envHost, envPort := getenv("TORSOCKS_TOR_ADDRESS"), getenv("TORSOCKS_TOR_PORT")
	s.FromEnv = envHost != "" || envPort != ""
	for _, v := range []struct {
		to  *string
		env string
	}{{&host, envHost}, {&port, envPort}, {&user, getenv("TORSOCKS_USERNAME")}, {&password, getenv("TORSOCKS_PASSWORD")}} {
		if v.env != "" {
			*v.to = v.env
		}
	}
	if s.SOCKS, err = place(host, port); err != nil {
		return s, true, err
	}
	if (user == "") != (password == "") {
		return s, true, errors.New("torsocks has a SOCKS user name without a password, or a password without a user name")
	}
	s.User, s.Password = user, redact.New(password)
	if password == "" {
		s.Password = redact.Secret{}
	}
	return s, true, nil
}

func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// parse reads lines of a key and a value. Keys are returned in lower case; of
// a repeated key the last counts, as with torsocks.
func parse(text []byte) map[string]string {
	keys := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxFile+1)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || strings.HasPrefix(words[0], "#") {
			continue
		}
		keys[strings.ToLower(words[0])] = words[1]
	}
	return keys
}

// place is where torsocks would find Tor's SOCKS port, if it was told either
// half; the other is Tor's usual one.
func place(host, port string) (netx.Addr, error) {
	if host == "" && port == "" {
		return netx.Addr{}, nil
	}
	a := netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: 9050}
	if host != "" && host != "localhost" {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return netx.Addr{}, fmt.Errorf("torsocks' address of Tor is %q: give an IP address; names are not looked up", host)
		}
		a.Host = ip.String()
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return netx.Addr{}, fmt.Errorf("torsocks' port of Tor is %q: it must be a number from 1 to 65535", port)
		}
		a.Port = int(n)
	}
	return a, nil
}
