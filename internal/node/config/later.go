package config

import (
	"slices"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/node/config/endpoint"
)

// checkLater refuses what is switched on and not there yet. When a feature
// comes, its row goes.
func (c *Config) checkLater() {
	for _, row := range []struct {
		section, key string
		on           bool
		what         string
	}{
		{"helper", "enabled", c.Helper.Enabled, "the upload helper"},
		{"client", "helper.furl", !c.Client.Helper.IsZero() && c.Client.Helper.Reveal() != "None", "uploading through a helper"},
		{"sftpd", "enabled", c.SFTPD.Enabled, "the SFTP server"},
		{"connections", "tcp", c.Connections.TCP == "i2p", "I2P"},
		{"i2p", "launch", c.I2P.Launch, "I2P"},
		{"i2p", "dest", c.I2P.Dest, "I2P"},
		{"node", "tub.port", slices.ContainsFunc(c.Node.TubPort, isI2P), "I2P"},
		{"node", "tub.location", slices.ContainsFunc(c.Node.TubLocation, isI2P), "I2P"},
		{"node", "log_gatherer.furl", !c.Node.LogGatherer.IsZero(), "sending logs to a gatherer"},
		{"client", "storage.plugins", len(c.Client.Plugins) > 0, "storage plugins"},
		{"storage", "plugins", len(c.Storage.Plugins) > 0, "storage plugins"},
		{"storage", "anonymous", c.Storage.Enabled && !c.Storage.Anonymous, "a storage server that only plugins reach"},
		{"storage", "expire.enabled", c.Storage.Expire.Enabled, "deleting expired shares"},
	} {
		if row.on {
			c.later(c.place(row.section, row.key), row.what)
		}
	}
}

// later adds a problem whose Later is set: Create lets it pass with a word.
func (c *Config) later(p Problem, what string) {
	p.Why, p.Later = "not supported yet: "+what, true
	if c.Kind == ClientNode {
		p.Remedy = "switch it off until it is"
	}
	c.problems = append(c.problems, p)
}

func isI2P(v endpoint.Value) bool {
	switch h := v.(type) {
	case endpoint.Provider:
		return h.Name == "i2p"
	case endpoint.Hint:
		return h.Kind == furl.I2P
	}
	return false
}

func isOnion(v endpoint.Value) bool { _, ok := v.(endpoint.Onion); return ok }
