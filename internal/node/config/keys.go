package config

import (
	"slices"

	"tahoe-go/internal/node/config/endpoint"
)

// Key is one key of tahoe.cfg.
type Key struct {
	Section, Name string
	Default       string // as it would be written; "": not set
	Doc           string
	at            func(*Config) value
}

// sectionDocs are the sections in the order of the documentation. Those of
// introducer nodes come first.
var sectionDocs = []struct{ name, doc string }{
	{"node", "Every kind of node."},
	{"connections", "What carries connections to others."},
	{"tor", "How Tor is found or started, and the onion service of this node."},
	{"i2p", "Read and checked; I2P itself is not supported yet."},
	{"client", "Where and how files are stored."},
	{"storage", "The storage server of this node."},
	{"helper", "The upload helper for other nodes; not supported yet."},
	{"sftpd", "The SFTP server; not supported yet."},
}

// introducerSections is how many of sectionDocs an introducer may have.
const introducerSections = 4

const maxPort = 65535

// keys is every key there is. Names are in the spelling of people; they are
// compared in lower case.
var keys = []Key{
	{"node", "nickname", "<unspecified>", "Name of this node in announcements and on pages.",
		func(c *Config) value { return textValue{&c.Node.Nickname} }},
	{"node", "web.port", "", "Where the web gateway listens; empty or absent: there is none. Whoever reaches it can use the node, so give it `interface=127.0.0.1`. A name there (`interface=files.example`) is one by which browsers may call it, through a proxy or a tunnel; it listens on 127.0.0.1 then.",
		func(c *Config) value { return pointValue{&c.Node.WebPort, endpoint.Web} }},
	{"node", "web.static", "public_html", "Folder that the gateway serves at `/static`.",
		func(c *Config) value { return pathValue{&c.Node.WebStatic} }},
	{"node", "tub.port", "", "Where other nodes connect to. Absent: the port in the file `client.port`, else a free port that is written there. `disabled`, together with `tub.location`: nowhere.",
		func(c *Config) value { return pointsValue{&c.Node.TubPort, endpoint.Listen} }},
	{"node", "tub.location", "", "What other nodes are told about where this one is. `AUTO` (or `AUTODETECT`) stands for the addresses of this machine and is the default; in a Tor-only node there is no default. `UNREACHABLE`: nobody connects to this node. `onion:PORT`: an onion service that the node sets up, see below.",
		func(c *Config) value { return pointsValue{&c.Node.TubLocation, endpoint.Location} }},
	{"node", "reveal-IP-address", "true", "`false`: this node's address stays hidden. Nothing leaves except through Tor, and a configuration that would tell is refused.",
		func(c *Config) value { return boolValue{&c.Node.RevealIP} }},
	{"node", "tor_only.enabled", "false", "The older spelling of the above; it also switches `[connections] tcp` to `tor`. Unknown to the Python program.",
		func(c *Config) value { return boolValue{&c.Node.TorOnly} }},
	{"node", "lockdown.enabled", "true", "Whether a Tor-only node has the kernel take the network away from it where that can be done (Linux). Unknown to the Python program.",
		func(c *Config) value { return boolValue{&c.Node.LockDown} }},
	{"node", "log_gatherer.furl", "", "Where to send logs; not supported yet.",
		func(c *Config) value { return furlValue{&c.Node.LogGatherer} }},
	{"node", "timeout.keepalive", "", "Foolscap: after so much silence the other side is asked for a sign of life. Absent: 240. 0: never.",
		func(c *Config) value { return secondValue{&c.Node.KeepAlive} }},
	{"node", "timeout.disconnect", "", "Foolscap: after so much silence the connection is given up. Absent: three times the former. 0: never.",
		func(c *Config) value { return secondValue{&c.Node.Disconnect} }},
	{"node", "tempdir", "tmp", "Folder for large uploads on their way.",
		func(c *Config) value { return pathValue{&c.Node.TempDir} }},

	{"connections", "tcp", "tcp", "What carries connections to `tcp:` addresses: `tcp` directly, `tor` through Tor, `disabled` not at all. Onion addresses always go through Tor.",
		func(c *Config) value { return wordValue{&c.Connections.TCP, []string{"tcp", "tor", "disabled", "i2p"}} }},

	{"tor", "enabled", "true", "`false`: no Tor.", func(c *Config) value { return boolValue{&c.Tor.Enabled} }},
	{"tor", "launch", "false", "Start a tor of this node's own.", func(c *Config) value { return boolValue{&c.Tor.Launch} }},
	{"tor", "tor.executable", "", "The tor program to start; absent: the one on the PATH.",
		func(c *Config) value { return programValue{&c.Tor.Executable} }},
	{"tor", "socks.port", "", "SOCKS port of a running tor; absent: looked for.",
		func(c *Config) value { return pointValue{&c.Tor.SocksPort, endpoint.Dial} }},
	{"tor", "control.port", "", "Control port of a running tor; needed for `onion` unless `launch` is on.",
		func(c *Config) value { return pointValue{&c.Tor.Control, endpoint.Dial} }},
	{"tor", "onion", "false", "Publish an onion service.", func(c *Config) value { return boolValue{&c.Tor.Onion} }},
	{"tor", "onion.local_port", "", "Port of 127.0.0.1 that tor hands connections to, and where `listen:tor` listens.",
		func(c *Config) value { return optional{intValue{&c.Tor.LocalPort, 1, maxPort}} }},
	{"tor", "onion.external_port", "", "Port inside the onion address.",
		func(c *Config) value { return optional{intValue{&c.Tor.Port, 1, maxPort}} }},
	{"tor", "onion.private_key_file", "", "File with the key of the onion address, as tor's ADD_ONION takes it.",
		func(c *Config) value { return optional{pathValue{&c.Tor.KeyFile}} }},

	{"i2p", "enabled", "true", "`false`: no I2P.", func(c *Config) value { return boolValue{&c.I2P.Enabled} }},
	{"i2p", "sam.port", "", "SAM port of a running router.", func(c *Config) value { return pointValue{&c.I2P.SAMPort, endpoint.Dial} }},
	{"i2p", "launch", "false", "Start a router.", func(c *Config) value { return boolValue{&c.I2P.Launch} }},
	{"i2p", "i2p.configdir", "", "Folder for the router to start.", func(c *Config) value { return optional{pathValue{&c.I2P.ConfigDir}} }},
	{"i2p", "i2p.executable", "", "The router to start.", func(c *Config) value { return programValue{&c.I2P.Executable} }},
	{"i2p", "dest", "false", "Publish an I2P destination.", func(c *Config) value { return boolValue{&c.I2P.Dest} }},
	{"i2p", "dest.port", "", "Port inside the destination.", func(c *Config) value { return optional{intValue{&c.I2P.DestPort, 1, maxPort}} }},
	{"i2p", "dest.private_key_file", "", "File with the key of the destination.", func(c *Config) value { return optional{pathValue{&c.I2P.KeyFile}} }},

	{"client", "introducer.furl", "", "The older place for one introducer; `private/introducers.yaml` is the newer.",
		func(c *Config) value { return furlValue{&c.Client.Introducer} }},
	{"client", "helper.furl", "", "Upload helper to use; not supported yet.", func(c *Config) value { return furlValue{&c.Client.Helper} }},
	{"client", "key_generator.furl", "", "Obsolete and ignored.", func(c *Config) value { return furlValue{&c.Client.KeyGenerator} }},
	{"client", "shares.needed", "3", "k: how many shares are enough to get a file back.",
		func(c *Config) value { return intValue{&c.Client.Needed, 1, 256} }},
	{"client", "shares.happy", "7", "How many servers must hold shares for an upload to count.",
		func(c *Config) value { return intValue{&c.Client.Happy, 1, 256} }},
	{"client", "shares.total", "10", "N: how many shares are made of a file.",
		func(c *Config) value { return intValue{&c.Client.Total, 1, 256} }},
	{"client", "shares._max_immutable_segment_size_for_testing", "1048576", "Segment size of immutable files.",
		func(c *Config) value { return bytesValue{&c.Client.MaxSegment, 1, 1 << 30} }},
	{"client", "mutable.format", "SDMF", "Format of new mutable files and directories: `SDMF` or `MDMF`; any other word means SDMF.",
		func(c *Config) value { return textValue{&c.Client.MutableFormat} }},
	{"client", "peers.preferred", "", "Server ids (`v0-…`) to place shares on first; has no effect yet.",
		func(c *Config) value { return listValue{&c.Client.Preferred} }},
	{"client", "storage.plugins", "", "Client-side storage plugins; not supported yet.",
		func(c *Config) value { return listValue{&c.Client.Plugins} }},
	{"client", "force_foolscap", "false", "Speak Foolscap with every storage server, also with those that offer the HTTP storage protocol.",
		func(c *Config) value { return boolValue{&c.Client.ForceFoolscap} }},

	{"storage", "enabled", "true", "Run a storage server.", func(c *Config) value { return boolValue{&c.Storage.Enabled} }},
	{"storage", "anonymous", "true", "Let everyone who knows the address store; `false` leaves only plugins.",
		func(c *Config) value { return boolValue{&c.Storage.Anonymous} }},
	{"storage", "readonly", "false", "Take no new shares. Changes of mutable shares are still taken.",
		func(c *Config) value { return boolValue{&c.Storage.ReadOnly} }},
	{"storage", "reserved_space", "0", "Space to leave free on the disk. `tahoe create-node` writes `1G`.",
		func(c *Config) value { return sizeValue{&c.Storage.Reserved} }},
	{"storage", "storage_dir", "storage", "Folder of the shares.", func(c *Config) value { return pathValue{&c.Storage.Dir} }},
	{"storage", "debug_discard", "false", "Accept uploads and throw them away. For measurements.",
		func(c *Config) value { return boolValue{&c.Storage.Discard} }},
	{"storage", "expire.enabled", "false", "Delete shares whose leases ran out; not supported yet.",
		func(c *Config) value { return boolValue{&c.Storage.Expire.Enabled} }},
	{"storage", "expire.mode", "", "`age` or `cutoff-date`; required if `expire.enabled`.",
		func(c *Config) value {
			return optional{wordValue{&c.Storage.Expire.Mode, []string{"age", "cutoff-date"}}}
		}},
	{"storage", "expire.override_lease_duration", "", "Mode `age`: how long a lease lives after it was renewed.",
		func(c *Config) value { return optional{ageValue{&c.Storage.Expire.Duration}} }},
	{"storage", "expire.cutoff_date", "", "Mode `cutoff-date`: leases renewed before this day (UTC) are over.",
		func(c *Config) value { return optional{dateValue{&c.Storage.Expire.Cutoff}} }},
	{"storage", "expire.immutable", "true", "Whether immutable shares may expire.",
		func(c *Config) value { return boolValue{&c.Storage.Expire.Immutable} }},
	{"storage", "expire.mutable", "true", "Whether mutable shares may expire.",
		func(c *Config) value { return boolValue{&c.Storage.Expire.Mutable} }},
	{"storage", "plugins", "", "Storage server plugins; not supported yet.", func(c *Config) value { return listValue{&c.Storage.Plugins} }},
	{"storage", "grid_management", "false", "Announce the certificates of `[grid_manager_certificates]`.",
		func(c *Config) value { return boolValue{&c.Storage.GridManaged} }},
	{"storage", "force_foolscap", "false", "Offer Foolscap only, not the HTTP storage protocol.",
		func(c *Config) value { return boolValue{&c.Storage.ForceFoolscap} }},
	{"storage", "announce-onion-nurls", "false", "Announce the HTTP storage protocol at onion addresses in the field that the Python program reads, too. It hands such a name to DNS and gives up, where it would have connected by Foolscap; so there is another field for them. Unknown to the Python program.",
		func(c *Config) value { return boolValue{&c.Storage.OnionNURLs} }},

	{"helper", "enabled", "false", "Run an upload helper.", func(c *Config) value { return boolValue{&c.Helper.Enabled} }},

	{"sftpd", "enabled", "false", "Run the SFTP server.", func(c *Config) value { return boolValue{&c.SFTPD.Enabled} }},
	{"sftpd", "port", "tcp:8022", "Where it listens.", func(c *Config) value { return pointValue{&c.SFTPD.Port, endpoint.Listen} }},
	{"sftpd", "accounts.file", "", "File of the accounts.", func(c *Config) value { return optional{pathValue{&c.SFTPD.Accounts}} }},
	{"sftpd", "host_pubkey_file", "", "The server's public key.", func(c *Config) value { return optional{pathValue{&c.SFTPD.PubKey}} }},
	{"sftpd", "host_privkey_file", "", "The server's private key.", func(c *Config) value { return optional{pathValue{&c.SFTPD.PrivKey}} }},
}

// optional is a value whose empty text means that it is not set.
type optional struct{ value }

func (o optional) set(c *Config, s string) error {
	if s == "" {
		return nil
	}
	return o.value.set(c, s)
}

// gone are keys that older programs or documents know.
var gone = map[string]string{
	"node/ssh.port":                 "the key is not used any more: delete the line",
	"node/ssh.authorized_keys_file": "the key is not used any more: delete the line",
	"node/advertised_ip_addresses":  "the key is now tub.location",
	"sftpd/accounts.url":            "the key is gone: list the accounts in a file and name it in accounts.file",
	"client/stats_gatherer.furl":    "the key is not used any more: delete the line",
	"helper/run_helper":             "the key is now enabled",
}

// freeForm reports whether a section may have any key.
func freeForm(section string) bool {
	return section == gridManagers || section == gridCertificates || isPlugin(section)
}

const (
	gridManagers     = "grid_managers"
	gridCertificates = "grid_manager_certificates"
)

// Keys returns the table of all keys with a name of their own.
func Keys() []Key { return slices.Clone(keys) }
