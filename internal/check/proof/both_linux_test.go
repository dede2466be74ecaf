package proof

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/node/config"
)

// bothServer is a server on the clear network that is an onion service too, in
// the spelling of the documents of old, and two clients of it: one that knows
// nothing of Tor comes by the port, and one that hides, in the lab, by the onion.
// The server is beside the lab: it does not hide.
func (g *grid) bothServer(t *testing.T) {
	const name = "both"
	folder := filepath.Join(filepath.Dir(g.unixTor.CookieFile), "both_ways")
	port := freePort(t)
	do := func(args ...string) {
		t.Helper()
		if _, _, err := g.do(t.Context(), command{open: true, args: args}); err != nil {
			t.Fatal(err)
		}
	}
	do("create-node", "--webport=none", "--nickname="+name, fmt.Sprintf("--port=tcp:%d", port), fmt.Sprintf("--location=tcp:127.0.0.1:%d", port), g.path(name))
	g.set(t, name, "tub.location", fmt.Sprintf(`"AUTODETECT,tcp:127.0.0.1:%d,onion:80:hiddenServiceDir=%s"`, port, folder))
	g.add(t, name, "[tor]\ncontrol.port = "+g.unixTor.Control.String()+"\n")
	server := g.run(t, &node{name: name, open: true})
	server.wait(t, "client running")
	entry, clear, onion := g.bothEntries(t, server)
	if clear == "" {
		t.Fatalf("the entry has no place on the clear network:\n%s", entry)
	}

	for _, c := range []struct {
		name, entry, kind string
		options           []string
		config            string
		open              bool
	}{
		{name: "plain", entry: clear, kind: "tcp", open: true},
		{name: "hides", entry: onion, kind: "onion", options: []string{"--hide-ip"}, config: "[tor]\nsocks.port = tcp:" + hostPort(g.tcpTor.SOCKS) + "\n"},
	} {
		dir := g.path(c.name)
		do(append(append([]string{"create-client", "--webport=tcp:0:interface=127.0.0.1", "--shares-needed=1", "--shares-happy=1", "--shares-total=1"}, c.options...), dir)...)
		g.add(t, c.name, c.config)
		file := g.path(c.name + ".yaml")
		if err := os.WriteFile(file, []byte(c.entry), 0o600); err != nil {
			t.Fatal(err)
		}
		do("-d", dir, "add-server", file)
		n := g.run(t, &node{name: c.name, open: c.open})
		n.wait(t, "storage servers: 1 of 1 connected")
		data := content(100_000)
		do := func(stdin string, args ...string) string {
			t.Helper()
			out, _, err := g.do(t.Context(), command{open: c.open, stdin: stdin, args: append([]string{"-d", dir}, args...)})
			if err != nil {
				t.Fatalf("%v\n%s", err, n.tail(t))
			}
			return out
		}
		cap := g.stored(t, do(string(data), "put"), data)
		if got := do(cap+"\n", "get", "-", "-"); got != string(data) {
			t.Errorf("%s: %d bytes came back that differ from the %d that were put", c.name, len(got), len(data))
		}
		if status := do("", "status"); !strings.Contains(status, "connected  "+c.kind) {
			t.Errorf("%s does not come by %s:\n%s", c.name, c.kind, status)
		}
	}
}

// bothEntries waits until a server announces both its ways, and returns its
// entry, whole and with one way only.
func (g *grid) bothEntries(t *testing.T, server *node) (entry, clear, onion string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(server.dir, filepath.FromSlash(config.EntryFile)))
		if err == nil && strings.Contains(string(text), ".onion") {
			entry = string(text)
			break
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("%s announces no onion:\n%s", server.name, server.tail(t))
		}
	}
	var clears, onions []string
	for line := range strings.Lines(entry) {
		switch {
		case strings.Contains(line, "pb+tor:") || strings.Contains(line, "onion-NURLs:"):
			onions = append(onions, line)
		case strings.Contains(line, "- pb:") || strings.Contains(line, "anonymous-storage-NURLs:"):
			clears = append(clears, line)
		default:
			clears, onions = append(clears, line), append(onions, line)
		}
	}
	return entry, strings.Join(clears, ""), strings.Join(onions, "")
}
