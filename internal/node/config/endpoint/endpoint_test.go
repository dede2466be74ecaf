package endpoint_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/node/config/endpoint"
)

const onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"

var tcpHint = endpoint.Hint{Hint: furl.Hint{Kind: furl.TCP, Host: "example.org", Port: 80}}
var torHint = endpoint.Hint{Hint: furl.Hint{Kind: furl.Tor, Host: onion, Port: 80}}

func TestParseList(t *testing.T) {
	v := func(v ...endpoint.Value) []endpoint.Value { return v }
	for _, tt := range []struct {
		role endpoint.Role
		in   string
		want []endpoint.Value
	}{
		{endpoint.Listen, "3456", v(endpoint.TCP{Port: 3456})},
		{endpoint.Listen, "0", v(endpoint.TCP{})},
		{endpoint.Listen, "tcp:3456:interface=127.0.0.1", v(endpoint.TCP{Port: 3456, Interface: "127.0.0.1"})},
		{endpoint.Listen, "TCP:3456:127.0.0.1:5", v(endpoint.TCP{Port: 3456, Interface: "127.0.0.1", Backlog: 5})},
		{endpoint.Listen, "tcp:port=0:interface=localhost", v(endpoint.TCP{Interface: "127.0.0.1"})},
		{endpoint.Listen, `tcp:1:interface=\:\:1`, v(endpoint.TCP{Port: 1, Interface: "::1", IPv6: true})},
		{endpoint.Listen, `tcp6:1:interface=[::1]`, v(endpoint.TCP{Port: 1, Interface: "::1", IPv6: true})},
		{endpoint.Listen, "tcp6:1", v(endpoint.TCP{Port: 1, IPv6: true})},
		{endpoint.Listen, " tcp:1 , tcp6:2 ", v(endpoint.TCP{Port: 1}, endpoint.TCP{Port: 2, IPv6: true})},
		{endpoint.Listen, `"tcp:1,listen:tor"`, v(endpoint.TCP{Port: 1}, endpoint.Provider{Name: "tor"})},
		{endpoint.Listen, "disabled", v(endpoint.Disabled{})},
		{endpoint.Listen, "unix:/run/t\\:x/web sock:mode=660", v(endpoint.Unix{Path: "/run/t:x/web sock", Mode: 0o660})},
		{endpoint.Listen, `unix:/a\,b`, v(endpoint.Unix{Path: "/a,b"})},
		{endpoint.Listen, "ssl:3456", v(endpoint.SSL{Port: 3456, PrivateKey: "server.pem"})},
		{endpoint.Listen, "ssl:3456:privateKey=k.pem:certKey=c.pem:interface=127.0.0.1",
			v(endpoint.SSL{Port: 3456, Interface: "127.0.0.1", PrivateKey: "k.pem", CertKey: "c.pem"})},
		{endpoint.Listen, "systemd:domain=INET:index=0", v(endpoint.Systemd{Domain: "INET"})},
		{endpoint.Listen, "systemd:UNIX:name=web", v(endpoint.Systemd{Domain: "UNIX", Name: "web"})},
		{endpoint.Listen, "onion:80", v(endpoint.Onion{Port: 80})},
		{endpoint.Web, "tcp:3456:interface=Files.Example", v(endpoint.TCP{Port: 3456, Interface: "files.example"})},
		{endpoint.Web, "tcp:3456:interface=localhost,1", v(endpoint.TCP{Port: 3456, Interface: "127.0.0.1"}, endpoint.TCP{Port: 1})},
		{endpoint.Location, "onion:80:hiddenServiceDir=/var/lib/tor/my_service",
			v(endpoint.Onion{Port: 80, HiddenServiceDir: "/var/lib/tor/my_service"})},
		{endpoint.Location, "onion:80:privateKeyFile=private/k:controlPort=9051:localPort=8080:version=3:singleHop=true",
			v(endpoint.Onion{Port: 80, PrivateKeyFile: "private/k", ControlPort: endpoint.DialTCP{Host: "127.0.0.1", Port: 9051}, LocalPort: 8080, SingleHop: true})},
		{endpoint.Location, `onion:80:controlPort=unix\:/run/tor/control`, v(endpoint.Onion{Port: 80, ControlPort: endpoint.DialUnix{Path: "/run/tor/control"}})},
		{endpoint.Location, `"AUTODETECT,onion:80:hiddenServiceDir=/x"`, v(endpoint.Auto{}, endpoint.Onion{Port: 80, HiddenServiceDir: "/x"})},
		{endpoint.Location, "AUTO,tcp:example.org:80", v(endpoint.Auto{}, tcpHint)},
		{endpoint.Location, "tcp:host=example.org:port=80", v(tcpHint)},
		{endpoint.Location, "tcp:[::1]:80", v(endpoint.Hint{Hint: furl.Hint{Kind: furl.TCP, Host: "::1", Port: 80}})},
		{endpoint.Location, "example.org:80", v(endpoint.Hint{Hint: furl.Hint{Kind: furl.TCP, Host: "example.org", Port: 80, Legacy: true}})},
		{endpoint.Location, "tor:" + onion + ":80", v(torHint)},
		{endpoint.Location, "tor:" + strings.ToUpper(onion) + ":80", v(torHint)},
		{endpoint.Location, onion + ":80", v(torHint)},
		{endpoint.Location, "tor:" + onion + ":80:socksPort=9150",
			v(endpoint.Hint{Hint: torHint.Hint, SocksPort: endpoint.DialTCP{Host: "127.0.0.1", Port: 9150}})},
		{endpoint.Location, "i2p:abc.b32.i2p", v(endpoint.Hint{Hint: furl.Hint{Kind: furl.I2P, Host: "abc.b32.i2p"}})},
		{endpoint.Location, "i2p:abc.b32.i2p:3457", v(endpoint.Hint{Hint: furl.Hint{Kind: furl.I2P, Host: "abc.b32.i2p", Port: 3457}})},
		{endpoint.Location, "UNREACHABLE", v(endpoint.Unreachable{})},
		{endpoint.Location, "disabled", v(endpoint.Disabled{})},
		{endpoint.Location, "client.fakelocation:0", v(endpoint.FakeLocation{})},
		{endpoint.Dial, "tcp:127.0.0.1:9050", v(endpoint.DialTCP{Host: "127.0.0.1", Port: 9050})},
		{endpoint.Dial, "tcp:host=localhost:port=9050:timeout=3", v(endpoint.DialTCP{Host: "localhost", Port: 9050})},
		{endpoint.Dial, "unix:/run/tor/socks", v(endpoint.DialUnix{Path: "/run/tor/socks"})},
	} {
		got, err := endpoint.ParseList(tt.role, tt.in)
		if err != nil {
			t.Errorf("ParseList(%d, %q): %v", tt.role, tt.in, err)
		} else if d := cmp.Diff(tt.want, got, cmpopts.EquateComparable(endpoint.Hint{})); d != "" {
			t.Errorf("ParseList(%d, %q): -want +got\n%s", tt.role, tt.in, d)
		}
	}
}

// The star in each text marks the character that the error must point at.
func TestErrorsPoint(t *testing.T) {
	for _, tt := range []struct {
		role endpoint.Role
		in   string
		why  string
	}{
		{endpoint.Listen, "*", "missing"},
		{endpoint.Listen, "tcp:1,*", "missing"},
		{endpoint.Listen, "tcp:1,*,tcp:2", "missing"},
		{endpoint.Listen, "*tcp", "needs a field port"},
		{endpoint.Listen, "tcp:*", "is empty"},
		{endpoint.Listen, "tcp:*99999", "from 0 to 65535"},
		{endpoint.Listen, "*99999", "from 0 to 65535"},
		{endpoint.Listen, "tcp:*0x10", "from 0 to 65535"},
		{endpoint.Listen, "tcp:*+1", "from 0 to 65535"},
		{endpoint.Listen, "tcp:1:interface=*example.org", "IP address"},
		{endpoint.Web, "tcp:1:interface=*a/b", "IP address"},
		{endpoint.Listen, "tcp6:1:interface=*127.0.0.1", "IPv6"},
		{endpoint.Listen, "tcp:1:*iface=127.0.0.1", "no field \"iface\" (it has port, interface, backlog)"},
		{endpoint.Listen, "tcp:1:127.0.0.1:5:*6", "no further field"},
		{endpoint.Listen, "tcp:1:*port=2", "twice"},
		{endpoint.Listen, "tcp:1:*=2", "no name"},
		{endpoint.Listen, `tcp:1*\`, "backslash"},
		{endpoint.Listen, "*port=1", "starts with its kind"},
		{endpoint.Listen, "tcp:1,*udp:2", "no kind of endpoint called \"udp\""},
		{endpoint.Listen, "listen:*freenet", "tor and i2p"},
		{endpoint.Listen, "unix:*", "is empty"},
		{endpoint.Listen, "unix:/a:mode=*999", "octal"},
		{endpoint.Listen, "*systemd:domain=INET", "index or name"},
		{endpoint.Listen, "systemd:domain=*IPX:index=0", "INET6"},
		{endpoint.Listen, "ssl:1:privateKey=*", "is empty"},
		{endpoint.Location, "tcp:example.org:*0", "from 1 to 65535"},
		{endpoint.Location, "*tcp:example.org", "needs a field port"},
		{endpoint.Location, "*tcp:exa/mple:80", "not a place"},
		{endpoint.Location, "*10.0.0.1", "no kind"},
		{endpoint.Location, "*tcp:" + onion + ":80", "write tor:" + onion + ":80"},
		{endpoint.Location, "tor:*expyuzz4wqqyqhjn.onion:80", "version 2"},
		{endpoint.Location, "*expyuzz4wqqyqhjn.onion:80", "version 2"},
		{endpoint.Location, "tor:*a" + onion[1:] + ":80", "checksum"},
		{endpoint.Location, "onion:*0", "from 1 to 65535"},
		{endpoint.Location, "onion:80:version=*2", "2021"},
		{endpoint.Location, "onion:80:privateKey=*ED25519-V3\\:abc", "privateKeyFile"},
		{endpoint.Location, "onion:80:hiddenServiceDir=/a:privateKeyFile=*b", "one of the two"},
		{endpoint.Location, "onion:80:controlPort=*nonsense", "controlPort"},
		{endpoint.Location, "*foo:bar", "neither"},
		{endpoint.Location, "*client.fakelocation:1x", "neither"},
		{endpoint.Location, "AUTO:*1", "no further field"},
		{endpoint.Dial, "*127.0.0.1:9050", "did you mean tcp:127.0.0.1:9050?"},
		{endpoint.Dial, "*9050", "did you mean tcp:127.0.0.1:9050?"},
		{endpoint.Dial, "*listen:tor", "no kind"},
		{endpoint.Dial, "tcp:127.0.0.1:9050*\x00", "cannot be part"},
	} {
		pos := strings.IndexByte(tt.in, '*')
		in := strings.Replace(tt.in, "*", "", 1)
		_, err := endpoint.Parse(tt.role, in)
		e, ok := errors.AsType[*endpoint.Error](err)
		if !ok || e.Pos != pos || !strings.Contains(e.Why, tt.why) {
			t.Errorf("Parse(%d, %q) = %v; want %q at byte %d", tt.role, in, err, tt.why, pos)
			continue
		}
		if strings.Contains(e.Error(), "\n") || !strings.HasSuffix(e.Caret(), "^") {
			t.Errorf("%q, %q: want one line, and a mark", e.Error(), e.Caret())
		}
	}
	if _, err := endpoint.Parse(endpoint.Dial, "unix:/a,unix:/b"); err == nil {
		t.Error("Parse takes a list")
	}
	if _, err := endpoint.ParseList(endpoint.Dial, strings.Repeat("unix:/a,", 100)+"unix:/a"); err == nil {
		t.Error("ParseList takes 101 endpoints")
	}
	if _, err := endpoint.ParseList(endpoint.Dial, "unix:/"+strings.Repeat("a", endpoint.MaxLength)); err == nil {
		t.Error("ParseList takes any length")
	}
}

func TestErrorsHideKeys(t *testing.T) {
	for _, in := range []string{`onion:80:privateKey=SECRET`, `onion:x:PrivateKey=SECRET`, `onion:80:\u0130privatekey=SECRET:x=y,z`} {
		_, err := endpoint.Parse(endpoint.Location, in)
		e, ok := errors.AsType[*endpoint.Error](err)
		if !ok || strings.Contains(e.Error()+e.Text+e.Caret(), "SECRET") {
			t.Errorf("Parse(%q) = %v", in, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for in, want := range map[string]bool{"": false, "127.0.0.1": true, "127.8.0.1": true, "::1": true, "::ffff:127.0.0.1": true, "0.0.0.0": false, "192.168.1.1": false} {
		if got := (endpoint.TCP{Interface: in}).Loopback(); got != want {
			t.Errorf("TCP{%q}.Loopback() = %v", in, got)
		}
	}
	for in, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "example.org": false, "10.0.0.1": false} {
		if got := (endpoint.DialTCP{Host: in}).Local(); got != want {
			t.Errorf("DialTCP{%q}.Local() = %v", in, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"tcp:1:interface=127.0.0.1,listen:tor", `"AUTO,onion:80:hiddenServiceDir=/a b"`, `unix:/a\:\,\\\=b:mode=600`,
		"tor:" + onion + ":80:socksPort=9150", "[::1]:80", `tcp6:80:interface=\:\:1`, "systemd:domain=INET:index=0", "client.fakelocation:0",
		`onion:80:controlPort=unix\:/a\\\:b`, "ssl:1:privateKey=a:certKey=b", "i2p:a.i2p:1", "'x:y'", `unix:\ a\ `, `unix:\'a\'`} {
		for role := range 3 {
			f.Add(role, s)
		}
	}
	f.Fuzz(func(t *testing.T, role int, s string) {
		r := endpoint.Role(uint(role) % 4)
		values, err := endpoint.ParseList(r, s)
		if err != nil {
			e, ok := errors.AsType[*endpoint.Error](err)
			if !ok || e.Pos < 0 || e.Pos > len(e.Text) {
				t.Fatalf("error %#v", err)
			}
			e.Caret()
			return
		}
		for _, v := range values {
			again, err := endpoint.Parse(r, v.String())
			if err != nil || again != v {
				t.Fatalf("%#v prints as %q, which parses to %#v, %v", v, v.String(), again, err)
			}
		}
	})
}
