package node

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/version"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/diskstore"
	"tahoe-go/internal/storage/foolscapstore"
	"tahoe-go/internal/storage/gbs"
)

// Clients that come through Tor may take long over each step.
const onionHeaderTimeout = time.Minute

// startStorage serves this node's shares, by both protocols, at every place that
// tub.port and the onion services name, and tells clients of it.
func (n *Node) startStorage(ctx context.Context) error {
	if !n.cfg.Storage.Enabled {
		return nil
	}
	d, err := n.openDoors(ctx)
	if err != nil {
		return err
	}
	told, missing := d.location.hints(n.tor)
	server, err := n.announce(told)
	if err != nil {
		d.close()
		return err
	}
	d.self.know(n.storageProof(server.FURL))
	store, err := diskstore.Open(diskstore.Config{
		Dir:           n.cfg.Storage.Dir,
		ReservedSpace: n.cfg.Storage.Reserved,
		ReadOnly:      n.cfg.Storage.ReadOnly,
		Discard:       n.cfg.Storage.Discard,
		NodeID:        n.cert.TubIDBytes(),
		Application:   version.Application,
		Log:           n.log.With("part", "storage"),
	})
	if err != nil {
		d.close()
		return err
	}
	n.onClose(store.Close)
	n.serve(ctx, "storage server", n.storageLoops(ctx, d, store, server.FURL.Swissnum)...)
	if d.location.waits() {
		n.serve(ctx, "onion address", func(ctx context.Context) error { return n.follow(ctx, d.location, told, n.tellStorage) })
	}
	n.note("storage server: shares in %s, open to clients at %s", n.cfg.Storage.Dir, describe(told, missing))
	if len(told) > 0 {
		n.note("storage server: give %s to those who may store here (tahoe add-server); it holds the key to it",
			filepath.Join(n.cfg.Dir, filepath.FromSlash(config.EntryFile)))
	}
	return nil
}

// storageLoops readies the handlers of both protocols and returns what serves
// the doors.
func (n *Node) storageLoops(ctx context.Context, d doors, store storage.Server, swissnum redact.Secret) (loops []func(context.Context) error) {
	log := n.log.With("part", "storage")
	remote := foolscapstore.NewHandler(foolscapstore.HandlerConfig{Server: store, NodeID: n.cert.TubIDBytes(), Log: log})
	n.onClose(func() error { return remote.Close(context.WithoutCancel(ctx)) })
	n.onClose(n.closeTub)
	n.tub.Register(swissnum, remote.Object())
	if n.cfg.Storage.ForceFoolscap {
		return d.foolscapOnly(n)
	}
	hc := gbs.HandlerConfig{Server: store, Swissnum: swissnum, Log: log}
	if d.onion {
		hc.HeaderTimeout = onionHeaderTimeout
	}
	handler := gbs.NewHandler(hc)
	n.onClose(func() error { return handler.Close(context.WithoutCancel(ctx)) })
	for _, l := range d.listeners {
		port := n.share(l, d.onion)
		loops = append(loops, func(ctx context.Context) error { return gbs.Serve(ctx, port, n.cert, handler) })
	}
	return loops
}

// storageProof proves by the protocol that is spoken that an address leads to
// this node's storage server.
func (n *Node) storageProof(f furl.FURL) proof {
	if n.cfg.Storage.ForceFoolscap {
		return n.tubProof(f)
	}
	return n.gbsProof(furl.NURL{SPKI: n.cert.SPKI(), Swissnum: f.Swissnum})
}

// tellStorage has everybody told of other places where the storage server is.
func (n *Node) tellStorage(hints []furl.Hint) error {
	_, err := n.announce(hints)
	return err
}

// hasShares reports whether a share directory was in use before.
func hasShares(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(dir, "shares"))
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return len(e.Name()) == 2 })
}
