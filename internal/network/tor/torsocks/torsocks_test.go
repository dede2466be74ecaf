package torsocks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tahoe-go/internal/kit/redact/redacttest"
	"tahoe-go/internal/network/netx"
)

const preload = "/usr/lib/x86_64-linux-gnu/torsocks/libtorsocks.so"

// As Debian ships it, less most of the comments.
const debian = `# This is the configuration for libtorsocks
#TorAddress 10.0.0.1
TorAddress 127.0.0.1
TorPort 9050
OnionAddrRange 127.42.42.0/24
#SOCKS5Username <username>
`

func TestDetect(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	deb := file("debian", debian)
	whole := file("whole", "toraddress ::1\nTorPort\t9150\nSOCKS5Username ann\nSOCKS5Password pass of ann\nTorPort 9151\n")
	for _, tt := range []struct {
		name    string
		env     map[string]string
		started bool
		socks   string
		fromEnv bool
		user    string
		err     string
	}{
		{name: "not at all"},
		{name: "another library", env: map[string]string{"LD_PRELOAD": "/usr/lib/libeatmydata.so"}},
		{name: "debian's", env: map[string]string{"LD_PRELOAD": "/a.so:" + preload, "TORSOCKS_CONF_FILE": deb}, started: true, socks: "tcp:127.0.0.1:9050"},
		{name: "a file with everything", env: map[string]string{"TORSOCKS_CONF_FILE": whole}, started: true, socks: "tcp:[::1]:9151", user: "ann"},
		{name: "variables win", env: map[string]string{"TORSOCKS_CONF_FILE": whole, "TORSOCKS_TOR_ADDRESS": "10.152.152.10", "TORSOCKS_TOR_PORT": "9100",
			"TORSOCKS_USERNAME": "bob", "TORSOCKS_PASSWORD": "x"}, started: true, socks: "tcp:10.152.152.10:9100", fromEnv: true, user: "bob"},
		{name: "a port alone", env: map[string]string{"TORSOCKS_CONF_FILE": deb, "TORSOCKS_TOR_PORT": "9150"}, started: true, socks: "tcp:127.0.0.1:9150", fromEnv: true},
		{name: "a file that says nothing", env: map[string]string{"TORSOCKS_CONF_FILE": file("empty", "")}, started: true, socks: "unset"},
		{name: "only isolation", env: map[string]string{"TORSOCKS_ISOLATE_PID": "1", "TORSOCKS_CONF_FILE": deb}, started: true, socks: "tcp:127.0.0.1:9050"},
		{name: "no such file", env: map[string]string{"TORSOCKS_CONF_FILE": filepath.Join(dir, "none")}, started: true, err: "no such file"},
		{name: "a name", env: map[string]string{"TORSOCKS_CONF_FILE": deb, "TORSOCKS_TOR_ADDRESS": "tor.example"}, started: true, err: "names are not looked up"},
		{name: "port 0", env: map[string]string{"TORSOCKS_CONF_FILE": deb, "TORSOCKS_TOR_PORT": "0"}, started: true, err: "1 to 65535"},
		{name: "user alone", env: map[string]string{"TORSOCKS_CONF_FILE": deb, "TORSOCKS_USERNAME": "ann"}, started: true, err: "without a password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, started, err := Detect(func(k string) string { return tt.env[k] })
			if started != tt.started {
				t.Errorf("started: %v", started)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.socks == "" || tt.socks == "unset" {
				if s.SOCKS != (netx.Addr{}) {
					t.Errorf("SOCKS at %s", s.SOCKS)
				}
			} else if s.SOCKS.String() != tt.socks {
				t.Errorf("SOCKS at %s, want %s", s.SOCKS, tt.socks)
			}
			if s.FromEnv != tt.fromEnv || s.User != tt.user || s.Password.IsZero() != (tt.user == "") {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestPasswordDoesNotPrint(t *testing.T) {
	env := map[string]string{"TORSOCKS_USERNAME": "ann", "TORSOCKS_PASSWORD": "correct horse", "TORSOCKS_CONF_FILE": os.DevNull}
	s, _, err := Detect(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	redacttest.Check(t, s, "correct horse")
}

func FuzzParse(f *testing.F) {
	f.Add(debian)
	f.Add("TorPort 1\r\nTorPort\n\x00 \x00\n")
	f.Fuzz(func(t *testing.T, text string) {
		for k, v := range parse([]byte(text)) {
			if k == "" || v == "" || strings.HasPrefix(k, "#") {
				t.Errorf("%q: %q = %q", text, k, v)
			}
		}
	})
}
