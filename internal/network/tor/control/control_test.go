package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/check/torcontrolmock"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
	"tahoe-go/internal/network/tor/onion"
)

var controlPort = netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: 9051}

// start runs a mock tor and connects to it.
func start(t *testing.T, cfg torcontrolmock.Config, onEvent func(control.Event)) (*torcontrolmock.Tor, *control.Conn) {
	t.Helper()
	if cfg.Host == nil {
		cfg.Host = torcontrolmock.NewHost()
	}
	tor, err := torcontrolmock.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tor.Stop)
	return tor, dial(t, cfg.Host, onEvent)
}

func dial(t *testing.T, h netx.Network, onEvent func(control.Event)) *control.Conn {
	t.Helper()
	nc, err := h.Dial(t.Context(), controlPort)
	if err != nil {
		t.Fatal(err)
	}
	c := control.New(nc, onEvent)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAuthenticate(t *testing.T) {
	dir := t.TempDir()
	unreadable := filepath.Join(dir, "folder") // stands in for EACCES where tests run as root
	if err := os.Mkdir(unreadable, 0o700); err != nil {
		t.Fatal(err)
	}
	cookie := filepath.Join(dir, `cookie "quoted" \ file`)
	for _, tt := range []struct {
		name  string
		tor   torcontrolmock.Config
		creds control.Credentials
		want  string // of the error
		sent  string // must be among the commands
	}{
		{name: "null", sent: "AUTHENTICATE"},
		{name: "safecookie", tor: torcontrolmock.Config{Methods: []string{"COOKIE", "SAFECOOKIE"}, CookieFile: cookie}, sent: "AUTHCHALLENGE"},
		{name: "cookie", tor: torcontrolmock.Config{Methods: []string{"COOKIE"}, CookieFile: cookie}, sent: "AUTHENTICATE 636f6f6b"},
		{name: "password", tor: torcontrolmock.Config{Methods: []string{"HASHEDPASSWORD"}, Password: "pass \"word\"\r\n"},
			creds: control.Credentials{Password: redact.New("pass \"word\"\r\n")}, sent: "AUTHENTICATE 7061"},
		{name: "password before cookie", tor: torcontrolmock.Config{Methods: []string{"COOKIE", "SAFECOOKIE", "HASHEDPASSWORD"}, CookieFile: filepath.Join(dir, "unused"), Password: "p"},
			creds: control.Credentials{Password: redact.New("p")}, sent: "AUTHENTICATE 70"},
		{name: "wrong password", tor: torcontrolmock.Config{Methods: []string{"HASHEDPASSWORD"}, Password: "p"},
			creds: control.Credentials{Password: redact.New("q")}, want: "HashedControlPassword"},
		{name: "password needed", tor: torcontrolmock.Config{Methods: []string{"HASHEDPASSWORD"}, Password: "p"}, want: "needs a password"},
		{name: "another tor's cookie, safe", tor: torcontrolmock.Config{Methods: []string{"COOKIE", "SAFECOOKIE"}, CookieFile: cookie, BadCookie: true}, want: "does not know the cookie"},
		{name: "another tor's cookie", tor: torcontrolmock.Config{Methods: []string{"COOKIE"}, CookieFile: cookie, BadCookie: true}, want: "another tor"},
		{name: "no cookie file", tor: torcontrolmock.Config{Methods: []string{"SAFECOOKIE"}, CookieFile: cookie},
			creds: control.Credentials{CookieFile: filepath.Join(dir, "none")}, want: "no such file on this machine"},
		{name: "cookie file is no cookie", tor: torcontrolmock.Config{Methods: []string{"SAFECOOKIE"}, CookieFile: cookie},
			creds: control.Credentials{CookieFile: unreadable}, want: "is not a cookie"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tor, c := start(t, tt.tor, nil)
			info, err := c.Authenticate(t.Context(), tt.creds)
			if tt.want != "" {
				if _, ok := errors.AsType[*control.AuthError](err); !ok || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error = %v, want an AuthError that says %q", err, tt.want)
				}
				return
			}
			if err != nil || info.Version != "0.4.9.11" {
				t.Fatalf("Authenticate = %+v, %v", info, err)
			}
			if _, err := c.GetInfo(t.Context(), "version"); err != nil {
				t.Errorf("after authentication: %v", err)
			}
			if all := strings.Join(tor.Commands(), "\n"); !strings.Contains(all, tt.sent) {
				t.Errorf("commands were:\n%s\nwant %q among them", all, tt.sent)
			}
		})
	}
}

func TestAuthErrorNamesTheCure(t *testing.T) {
	err := &control.AuthError{Methods: []string{"SAFECOOKIE"}, CookieFile: "/run/tor/control.authcookie", Err: fs.ErrPermission}
	for _, want := range []string{"adduser $USER debian-tor", "/run/tor/control.authcookie", "clients need just SOCKS"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestGetInfo(t *testing.T) {
	host := torcontrolmock.NewHost()
	_, c := start(t, torcontrolmock.Config{Host: host, SOCKS: []netx.Addr{
		{Kind: netx.TCP, Host: "127.0.0.1", Port: 9050},
		{Kind: netx.Unix, Host: `/tmp/a "b" \c`},
	}}, nil)
	if _, err := c.Authenticate(t.Context(), control.Credentials{}); err != nil {
		t.Fatal(err)
	}
	info, err := c.GetInfo(t.Context(), "net/listeners/socks", "status/bootstrap-phase")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := control.Quoted(info["net/listeners/socks"]), []string{"127.0.0.1:9050", `unix:/tmp/a "b" \c`}; !reflect.DeepEqual(got, want) {
		t.Errorf("listeners = %q, want %q", got, want)
	}
	if got := control.Keys(info["status/bootstrap-phase"]); got["PROGRESS"] != "100" || got["SUMMARY"] != "Done" {
		t.Errorf("bootstrap phase = %v", got)
	}
	_, err = c.GetInfo(t.Context(), "no-such-key")
	if refused, ok := errors.AsType[*control.Error](err); !ok || refused.Code != 552 {
		t.Errorf("unknown key: error = %v, want code 552", err)
	}
}

func TestGetConf(t *testing.T) {
	lines := []string{`HiddenServiceDir=/a # "b\c`, `HiddenServicePort=81 unix:"/so ck"`, "HiddenServicePort=443"}
	_, c := start(t, torcontrolmock.Config{Torrc: lines, Disk: &torcontrolmock.Disk{Parents: []string{"/"}}}, nil)
	if _, err := c.Authenticate(t.Context(), control.Credentials{}); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetConf(t.Context(), "HiddenServiceOptions")
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, s := range got {
		text = append(text, s.Key+"="+s.Value)
	}
	if !reflect.DeepEqual(text, lines) {
		t.Errorf("GetConf = %q, want %q", text, lines)
	}
	got, err = c.GetConf(t.Context(), "User")
	if want := []control.Setting{{Key: "User", Default: true}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("GetConf of what is not set = %v, %v", got, err)
	}
}

func TestAddOnion(t *testing.T) {
	key := onion.FromSeed([32]byte{1})
	events := make(chan control.Event, 100)
	tor, c := start(t, torcontrolmock.Config{HSDirs: 1, UploadTime: time.Millisecond, Refuse: map[string]string{
		"PoWDefensesEnabled": `512 Bad arguments to ADD_ONION: Unrecognized keyword argument "PoWDefensesEnabled"`,
	}}, func(e control.Event) { events <- e })
	ctx := t.Context()
	if _, err := c.Authenticate(ctx, control.Credentials{}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetEvents(ctx, "HS_DESC"); err != nil {
		t.Fatal(err)
	}
	svc := control.Service{Key: key, Port: 3457, Target: "unix:/run/x", Extra: []string{"PoWDefensesEnabled=1"}, ClientAuth: []string{"ABC"}}
	err := c.AddOnion(ctx, svc)
	if refused, ok := errors.AsType[*control.Error](err); !ok || !refused.BadArgument() {
		t.Errorf("unknown keyword: error = %v, want BadArgument", err)
	}
	svc.Extra = nil
	if err := c.AddOnion(ctx, svc); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Name != "HS_DESC" || e.Words[0] != "UPLOAD" || e.Words[1] != key.Address().ServiceID() || e.Keys["HSDIR_INDEX"] == "" {
		t.Errorf("first event = %+v", e)
	}
	if e := <-events; e.Words[0] != "UPLOADED" {
		t.Errorf("second event = %+v", e)
	}
	got := tor.Services()
	if len(got) != 1 || got[0].ID != key.Address().ServiceID() || got[0].Target != "unix:/run/x" || got[0].Port != 3457 ||
		!strings.Contains(strings.Join(got[0].Words, " "), "Flags=DiscardPK,V3Auth") || !strings.Contains(strings.Join(got[0].Words, " "), "ClientAuthV3=ABC") {
		t.Errorf("tor publishes %+v", got)
	}
	err = c.AddOnion(ctx, svc)
	if refused, ok := errors.AsType[*control.Error](err); !ok || !refused.Collision() {
		t.Errorf("same key again: error = %v, want a collision", err)
	}
	if err := c.DelOnion(ctx, key.Address()); err != nil || len(tor.Services()) != 0 {
		t.Errorf("DelOnion: %v; %d services left", err, len(tor.Services()))
	}
	for _, err := range []error{
		c.ResetConf(ctx, "__OwningControllerProcess"), c.SetConf(ctx, control.Setting{Key: "A", Value: `b "c"`}), c.Signal(ctx, "RELOAD"),
		c.OnionClientAuthAdd(ctx, key.Address(), redact.New(strings.Repeat("k", 32)), false),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	all := strings.Join(tor.Commands(), "\n")
	for _, want := range []string{`SETCONF A="b \"c\""`, "ONION_CLIENT_AUTH_ADD " + key.Address().ServiceID() + " x25519:a2tr"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s was not sent", want)
		}
	}
}

func TestAddOnionTargets(t *testing.T) {
	_, c := start(t, torcontrolmock.Config{}, nil)
	if _, err := c.Authenticate(t.Context(), control.Credentials{}); err != nil {
		t.Fatal(err)
	}
	for target, ok := range map[string]bool{
		"unix:/a/b": true, "127.0.0.1:80": true, "[::1]:80": true, "127.3.2.1:1": true,
		"192.0.2.7:80": false, "example.org:80": false, "localhost:80": false, "unix:relative": false, "127.0.0.1:0": false,
		"unix:/with space": false, "unix:/with\"quote": false, "0.0.0.0:80": false, "": false, "unix:/a\r\nQUIT": false,
	} {
		key := onion.FromSeed([32]byte{byte(len(target)), target2byte(target)})
		if err := c.AddOnion(t.Context(), control.Service{Key: key, Port: 80, Target: target}); (err == nil) != ok {
			t.Errorf("target %q: error = %v, want accepted = %v", target, err, ok)
		}
	}
}

func target2byte(s string) (sum byte) {
	for _, c := range []byte(s) {
		sum = sum*31 + c
	}
	return sum
}

func TestErrorsHoldNoKey(t *testing.T) {
	key := onion.FromSeed([32]byte{9})
	_, c := start(t, torcontrolmock.Config{Refuse: map[string]string{"ADD_ONION": "510 Command filtered", "AUTHENTICATE": "515 no"}}, nil)
	err1 := c.AddOnion(t.Context(), control.Service{Key: key, Port: 1, Target: "127.0.0.1:1"})
	_, err2 := c.Do(t.Context(), "AUTHENTICATE 70617373")
	for _, err := range []error{err1, err2} {
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "ED25519-V3:") || strings.Contains(err.Error(), "70617373") {
			t.Errorf("error = %v", err)
		}
	}
}

func TestCommandInjection(t *testing.T) {
	tor, c := start(t, torcontrolmock.Config{}, nil)
	if _, err := c.Do(t.Context(), "GETINFO version\r\nSIGNAL HALT"); err == nil {
		t.Error("a command with a line break was sent")
	}
	if got := tor.Commands(); len(got) != 0 {
		t.Errorf("tor received %q", got)
	}
}

// TestGivingUpKeepsReplies in step: the reply to an abandoned command must not
// become the reply to the next.
func TestGivingUpKeepsRepliesInStep(t *testing.T) {
	client, server := net.Pipe()
	c := control.New(client, nil)
	defer c.Close()
	defer server.Close()
	read := make(chan string)
	go func() {
		for lines := bufio.NewScanner(server); lines.Scan(); {
			read <- lines.Text()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := c.Do(ctx, "GETINFO one")
		failed <- err
	}()
	<-read
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("abandoned command: %v", err)
	}
	go func() {
		<-read
		io.WriteString(server, "250 one\r\n650 EVENT between\r\n250 two\r\n")
	}()
	r, err := c.Do(t.Context(), "GETINFO two")
	if err != nil || r.Lines[0].Text != "two" {
		t.Errorf("reply = %+v, %v; want two", r, err)
	}
}

func TestSilentTor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := torcontrolmock.NewHost()
		tor, c := start(t, torcontrolmock.Config{Host: host}, nil)
		tor.Hang(true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := c.Authenticate(ctx, control.Credentials{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("error = %v after %v, want deadline after 5s", err, time.Since(began))
		}
		tor.Stop()
		<-c.Done()
		if _, err := c.Do(t.Context(), "GETINFO version"); !errors.Is(err, control.ErrClosed) {
			t.Errorf("after the end: %v, want %v", err, control.ErrClosed)
		}
	})
}

// TestDeafPeer cannot even write.
func TestDeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		c := control.New(client, nil)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Do(ctx, "PROTOCOLINFO 1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want deadline", err)
		}
	})
}

func TestNotTor(t *testing.T) {
	for name, says := range map[string]string{
		"ftp":          "220 Welcome\r\n",
		"http":         "HTTP/1.1 400 Bad Request\r\n\r\n",
		"endless line": strings.Repeat("a", 200<<10),
		"endless data": "250+x=\r\n" + strings.Repeat(strings.Repeat("a", 1000)+"\r\n", 2000),
		"endless list": strings.Repeat("250-x=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 40000),
		"short line":   "25\r\n",
		"no version":   "250 OK\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			c := control.New(client, nil)
			defer c.Close()
			go func() {
				bufio.NewReader(server).ReadString('\n')
				io.WriteString(server, says)
			}()
			if _, err := c.ProtocolInfo(t.Context()); !errors.Is(err, control.ErrNotTor) {
				if refused, ok := errors.AsType[*control.Error](err); name != "ftp" || !ok || refused.Code != 220 {
					t.Errorf("error = %v, want %v", err, control.ErrNotTor)
				}
			}
		})
	}
}

func TestSpeaksUnasked(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	c := control.New(client, nil)
	defer c.Close()
	go io.WriteString(server, "220 mail.example ESMTP\r\n")
	<-c.Done()
	if err := c.Err(); !errors.Is(err, control.ErrNotTor) {
		t.Errorf("error = %v, want %v", err, control.ErrNotTor)
	}
}
