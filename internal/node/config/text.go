package config

import (
	"fmt"
	"strings"

	"tahoe-go/internal/kit/redact"
)

const cfgHead = `# tahoe.cfg: the settings of this node, read when it starts.
# "key = value"; a line that starts with # is a comment; a percent sign is
# written %%. docs/configuration.md explains every key.

`

// cfgText assembles tahoe.cfg line by line.
type cfgText struct{ strings.Builder }

func (t *cfgText) section(name string) {
	if t.Len() > len(cfgHead) {
		t.WriteByte('\n')
	}
	fmt.Fprintf(t, "[%s]\n", name)
}

func (t *cfgText) note(s string) { fmt.Fprintf(t, "# %s\n", s) }

// set writes a key; % in the value means itself.
func (t *cfgText) set(key string, value any) {
	s := strings.ReplaceAll(fmt.Sprint(value), "%", "%%")
	t.WriteString(strings.TrimRight(key+" = "+s, " ") + "\n")
}

// hint writes a key as a comment, for people to find.
func (t *cfgText) hint(key, value string) {
	t.WriteString(strings.TrimRight("#"+key+" = "+value, " ") + "\n")
}

// cfg returns the tahoe.cfg of a new node. The Python program reads it too:
// no key of our own is in it.
func (o CreateOptions) cfg(w where) string {
	var t cfgText
	t.WriteString(cfgHead)
	t.section("node")
	t.set("nickname", o.Nickname)
	if o.HideIP {
		t.note("This node's address stays hidden; settings that would tell are refused.")
		t.set("reveal-IP-address", false)
	} else {
		t.hint("reveal-IP-address", "true")
	}
	if o.Kind == ClientNode || w.web != "" {
		t.set("web.port", w.web)
	} else {
		t.note("Where the introducer shows what it knows, to browsers on this machine.")
		t.hint("web.port", DefaultIntroducerWebPort)
	}
	if o.Kind == ClientNode {
		t.set("web.static", "public_html")
	}
	t.set("tub.port", strings.Join(w.ports, ","))
	t.set("tub.location", strings.Join(w.locations, ","))
	t.hint("timeout.keepalive", "")
	t.hint("timeout.disconnect", "")
	if o.HideIP {
		t.section("connections")
		t.set("tcp", "tor")
	}
	if o.Kind == ClientNode {
		o.clientCfg(&t)
	}
	if o.listens("tor") || o.TorLaunch || o.TorControlPort != "" {
		t.section("tor")
		if o.TorLaunch {
			t.set("launch", true)
		} else {
			t.set("control.port", o.TorControlPort)
		}
		if o.TorExecutable != "" {
			t.set("tor.executable", o.TorExecutable)
		}
	}
	if o.listens("tor") {
		t.set("onion", true)
		t.set("onion.local_port", w.onionPort)
		t.set("onion.external_port", o.Onion.Port)
		t.set("onion.private_key_file", onionKeyFile)
	}
	return t.String()
}

func (o CreateOptions) clientCfg(t *cfgText) {
	t.section("client")
	t.hint("helper.furl", "")
	t.note("New files become \"total\" shares, of which \"needed\" are enough to read the")
	t.note("file back; an upload fails unless \"happy\" servers hold shares.")
	t.set("shares.needed", o.Needed)
	t.set("shares.happy", o.Happy)
	t.set("shares.total", o.Total)

	t.section("storage")
	t.set("enabled", !o.NoStorage)
	t.hint("readonly", "false")
	t.set("reserved_space", "1G")
	if o.StorageDir != "" {
		t.set("storage_dir", o.StorageDir)
	} else {
		t.hint("storage_dir", "storage")
	}
	t.hint("expire.enabled", "false")
	t.hint("expire.mode", "age")

	t.section("helper")
	t.set("enabled", o.Helper)
}

const (
	onionKeyName = "tor_onion.privkey"
	onionKeyFile = PrivateDir + "/" + onionKeyName
)

// tacText is for those who start the file with an old twistd; its name is
// what counts.
const tacText = `# The name of this file says what kind of node lives in this folder.
import sys
sys.exit("This is a Tahoe node directory. Start the node with: tahoe run")
`

const privateReadme = `Secrets of this node. Nobody but its owner may read them; whoever has them can
act in its name. Keep a backup: files stored with it may depend on them.
`

// introducersText is private/introducers.yaml with one introducer.
func introducersText(f redact.Secret) []byte {
	return marshal(mapping("introducers", mapping(defaultPetname, mapping("furl", text(f.Reveal())))))
}
