package node

import (
	"context"
	"path/filepath"
	"time"

	"tahoe-go/internal/file/blacklist"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/network/netx"
)

// files are the operations on files and directories.
type files struct {
	immutable   *immutable.Client
	mutable     *mutable.Client
	directories *directory.Client
	store       *filestore.Store
	blacklist   *blacklist.List
}

// mutableShares is the most shares a mutable file may have: one fewer than an
// immutable one.
const mutableShares = 255

// startFiles readies files and directories over the servers that are known and
// will be.
func (n *Node) startFiles(context.Context) error {
	if n.grid == nil {
		return nil
	}
	c, f := n.cfg.Client, &n.files
	patience := n.patience()
	var err error
	f.immutable, err = immutable.New(immutable.Config{
		Servers: n.grid,
		K:       c.Needed, Happy: c.Happy, N: c.Total,
		SegmentSize: c.MaxSegment,
		LeaseSecret: n.identity.LeaseSecret,
		Patience:    patience,
		Log:         n.log.With("part", "immutable"),
	})
	if err != nil {
		return err
	}
	n.onClose(func() error { f.immutable.Close(); return nil })
	keys := mutable.NewKeys(mutable.KeysConfig{})
	n.onClose(func() error { keys.Close(); return nil })
	f.mutable, err = mutable.New(mutable.Config{
		Servers: n.grid,
		K:       min(c.Needed, mutableShares), N: min(c.Total, mutableShares),
		LeaseSecret: n.identity.LeaseSecret,
		Keys:        keys,
		Patience: mutable.Patience{
			Ask: patience.Ask, Straggle: patience.Straggle, Stall: patience.Stall, Hedge: patience.Hedge, Outage: patience.Outage,
		},
		Log: n.log.With("part", "mutable"),
	})
	if err != nil {
		return err
	}
	n.onClose(func() error { f.mutable.Close(); return nil })
	f.directories = directory.New(directory.Config{Mutable: f.mutable, Immutable: f.immutable, Convergence: n.identity.Convergence})
	f.blacklist = blacklist.New(filepath.Join(n.cfg.Dir, "access.blacklist"), n.log.With("part", "blacklist"))
	f.store = filestore.New(filestore.Config{Immutable: f.immutable, Mutable: f.mutable, Directories: f.directories, Blacklist: f.blacklist})
	return nil
}

// slowest describes the slowest path to a server. What introducers will tell of
// is not known yet: where there is Tor, it may lead through it.
func (n *Node) slowest() netx.Hints {
	worst := netx.Hints{}
	see := func(a netx.Addr) {
		if h := netx.HintsFor(n.network, a); h.RTT > worst.RTT {
			worst = h
		}
	}
	for _, s := range n.cfg.Servers {
		for _, u := range s.AllNURLs() {
			see(nurlAddr(u))
		}
		for _, h := range s.FURL.Hints {
			see(hintAddr(h))
		}
	}
	for _, s := range n.grid.Status() { // what is in the caches
		if s.Address != "tcp" {
			see(netx.Addr{Kind: netx.Tor})
		}
	}
	if len(n.cfg.Introducers) > 0 && n.tor != nil {
		see(netx.Addr{Kind: netx.Tor})
	}
	return worst
}

// outage is how long a transfer waits for servers that were tried in vain: a
// second try that succeeds takes a fraction of the time to give up after.
func (n *Node) outage() time.Duration { return n.slowest().Dial / 3 }

// patience is what the slowest path to a known server asks for.
func (n *Node) patience() immutable.Patience {
	worst := n.slowest()
	if worst.RTT < time.Second {
		return immutable.Patience{} // its own values suit the clear network
	}
	return immutable.Patience{
		Ask:      worst.Stall,
		Straggle: 4 * worst.RTT,
		Stall:    2 * worst.Stall,
		Hedge:    3 * worst.RTT,
		// tor has restarted, found the network and built circuits by then
		Outage: 2*worst.Dial + worst.Stall,
	}
}
