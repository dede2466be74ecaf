package config

import (
	"fmt"
	"strings"

	"tahoe-go/internal/node/config/endpoint"
)

const docHead = `# Configuration

Made from the table of keys in ` + "`internal/node/config`" + `; do not edit by hand
(` + "`go test ./internal/node/config -run Documentation -update`" + ` writes it).

A node is a folder. Its settings are in the file ` + "`tahoe.cfg`" + ` there, read when the
node starts; all problems of it are shown at once, and a node with problems does
not start. The reference implementation in Python reads the same file; the few
keys that it does not know are marked.

## The file

- ` + "`[section]`" + ` lines, then ` + "`key = value`" + ` or ` + "`key: value`" + `. Keys may be written in any case,
  sections may not. Of a repeated key the last one counts.
- A line that starts with ` + "`#`" + ` or ` + "`;`" + ` is a comment. There are no comments behind values.
- A line indented deeper than its key continues the value.
- ` + "`%%`" + ` is a percent sign, ` + "`%(key)s`" + ` the value of another key of the section or of ` + "`[DEFAULT]`" + `.
- True is ` + "`true`, `yes`, `on` or `1`" + `; false is ` + "`false`, `no`, `off` or `0`" + `.
- Paths are relative to the node's folder; ` + "`~/`" + ` is the home folder.
- Sizes are digits, perhaps with ` + "`K`, `M`, `G`, `T`, `P` or `E`" + ` (powers of 1000; with an ` + "`i`" + ` behind it,
  of 1024) and perhaps a ` + "`B`" + `, without blanks.
`

const docTail = `
## Sections with names of your own

- ` + "`[grid_managers]`" + `: ` + "`NAME = pub-v0-…`" + `, grid managers. With any, new shares are given only to servers that show a certificate of one of them that has not expired; all servers are read from, and mutable shares are kept up to date where they are.
- ` + "`[grid_manager_certificates]`" + `: ` + "`NAME = path`" + `, files of certificates that grid managers have given this server, to be announced if ` + "`[storage] grid_management`" + ` is on.
- ` + "`[storageserver.plugins.NAME]`, `[storageclient.plugins.NAME]`" + `: handed to plugins; not supported yet.

## Introducers

An introducer's folder has ` + "`[node]`, `[connections]`, `[tor]` and `[i2p]`" + ` only.

## Hidden nodes

With ` + "`reveal-IP-address = false`" + ` (or ` + "`tor_only.enabled = true`" + `, which must not contradict it), these are
problems: connections to ` + "`tcp:`" + ` addresses that do not go through Tor; a ` + "`tub.location`" + ` with ` + "`AUTO`" + `, or with
anything but onion addresses and ` + "`UNREACHABLE`" + `; ports that listen on another interface than loopback (without an
interface they listen on 127.0.0.1); a host name as ` + "`socks.port` or `control.port`" + `; a log gatherer. Without
` + "`tub.location`" + ` such a node listens nowhere.

A storage server that nobody can reach is a problem where it was asked for (` + "`[storage] enabled = true`" + `), and is not started
with a word about it where it was not.

## Onion services

Three ways lead to one, and a node may be at public addresses at the same time (` + "`tub.location = AUTO,onion:80`" + `).

- The node keeps the key: ` + "`tub.location = onion:PORT`" + `, with the key in ` + "`private/tor_onion.privkey`" + ` or in
  ` + "`privateKeyFile=FILE`" + `, made if it is not there; or section ` + "`[tor]` with `onion = true`" + `, as ` + "`tahoe create-node --listen=tor`" + ` writes it.
- Tor keeps the key: ` + "`tub.location = onion:PORT:hiddenServiceDir=DIR`" + `. If tor has the service (from torrc, say), it is taken as it
  is, and the node listens where it leads. If not, it is added to tor's settings beside all others, again whenever tor
  has lost it, but only directly below tor's DataDirectory, or in a folder that tor is shown to own: a tor that cannot make a
  folder exits, for everyone. For other places ` + "`tahoe status`" + ` shows the lines for torrc. The address is announced when
  it is known, which may take a minute after the first start, and remembered.
- The operator has set it up in torrc, as ` + "`HiddenServicePort 29212 127.0.0.1:8098`" + `: ` + "`tub.port = tcp:8098:interface=127.0.0.1`" + ` and
  ` + "`tub.location = tor:ADDRESS.onion:29212`" + `. No control port is needed.

` + "`PORT`" + ` is the port at the onion address. Further fields: ` + "`localPort=N`" + `, where tor delivers on 127.0.0.1 (else a free port is chosen);
` + "`controlPort=9051`" + ` or ` + "`controlPort=unix\\:/run/tor/control`" + `, for ` + "`[tor] control.port`" + `; ` + "`version=3`" + `, the only one there is. ` + "`singleHop`" + ` is
refused: such a service is not anonymous.

## Endpoints

` + "`KIND:FIELD:NAME=FIELD`" + `: what the kind needs, in order, then further fields by name. A colon, comma, equals sign or
backslash that belongs to a field has a backslash before it. Lists have commas; the whole value may stand in quotes.

` + "`systemd:domain=INET:index=0`" + ` is a socket that systemd opened and handed over: by its number, counted from 0, or by
` + "`name=NAME`" + `, its FileDescriptorName; domain is ` + "`INET`, `INET6` or `UNIX`" + `. A Tor-only node takes none that others can reach.
`

// Documentation returns the text of docs/configuration.md.
func Documentation() string {
	var b strings.Builder
	b.WriteString(docHead)
	for _, s := range sectionDocs {
		fmt.Fprintf(&b, "\n## [%s]\n\n%s\n\n| key | value | default | |\n| --- | --- | --- | --- |\n", s.name, s.doc)
		for _, k := range keys {
			if k.Section != s.name {
				continue
			}
			def := ""
			if k.Default != "" {
				def = "`" + k.Default + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, k.at(&Config{}).form(), def, k.Doc)
		}
	}
	b.WriteString(docTail)
	for _, r := range []struct {
		role endpoint.Role
		what string
	}{
		{endpoint.Listen, "To listen (`tub.port`)"},
		{endpoint.Web, "To listen, for browsers (`web.port`)"},
		{endpoint.Dial, "To connect to (`socks.port`, `control.port`)"},
		{endpoint.Location, "To be found at (`tub.location`)"},
	} {
		fmt.Fprintf(&b, "\n%s: `%s`.\n", r.what, strings.Join(endpoint.Forms(r.role), "`, `"))
	}
	b.WriteString(docFiles())
	return b.String()
}

func docFiles() string {
	var b strings.Builder
	b.WriteString("\n## Files of a node directory\n\n| file | |\n| --- | --- |\n")
	for _, f := range []struct{ name, doc string }{
		{FileName, "the settings"},
		{"tahoe-client.tac", "its name says that this is a client (which may serve storage); `tahoe-introducer.tac`: an introducer"},
		{PortFile, "the port that was chosen, where `tub.port` is not set"},
		{nodeIDFile, "the TubID: hash of the certificate"},
		{pubkeyFile, "the public key that names this node to others"},
		{seedFile, "the server's place in the order of servers; never changes"},
		{nodeURLFile, "where the web gateway is; commands find it here"},
		{seqnumFile, "number of the last announcement of this node"},
		{"running.process", "number and start of the process that runs this node"},
		{"storage/", "the shares"},
		{"private/node.pem", "certificate and key of the node"},
		{privkeyFile, "key that signs announcements"},
		{secretFile, "root of the secrets by which leases are renewed"},
		{convergenceFile, "equal files are stored once among those who share this secret"},
		{tokenFile, "shows the gateway that a command may read this folder; new at each start"},
		{StorageFURLFile, "address of the storage server, with the secret to use it"},
		{IntroducerFURLFile, "address of an introducer, with the secret to use it: what the nodes of its grid are given"},
		{EntryFile, "the same as a text for others' `servers.yaml` (`tahoe add-server`)"},
		{serversFile, "storage servers that this client uses, besides those it hears of"},
		{introsFile, "introducers: `introducers: {PETNAME: {furl: FURL}}`"},
		{"private/introducer_PETNAME_cache.yaml", "what an introducer has announced; used at once at the next start"},
		{"private/introducer-memory.json", "what an introducer has been told, so that it knows it after a restart"},
		{onionKeyFile, "key of the onion address"},
		{OnionMemory, "what tor has told of onion services whose key it keeps itself: address, local port, folder"},
	} {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.name, f.doc)
	}
	return b.String()
}
