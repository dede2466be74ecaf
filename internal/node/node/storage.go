package node

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/version"
	"tahoe-go/internal/node/config"
	"tahoe-go/internal/storage/diskstore"
	"tahoe-go/internal/storage/gbs"
)

// Clients that come through Tor may take long over each step.
const onionHeaderTimeout = time.Minute

// startStorage serves this node's shares at every place that tub.port and the
// onion services name, and writes what clients need to know of it.
func (n *Node) startStorage(ctx context.Context) error {
	if !n.cfg.Storage.Enabled {
		return nil
	}
	doors, err := n.openDoors(ctx)
	if err != nil {
		return err
	}
	told, missing := doors.location.hints(n.tor)
	server, err := n.announce(told)
	if err != nil {
		doors.close()
		return err
	}
	doors.self.know(furl.NURL{SPKI: n.cert.SPKI(), Swissnum: server.FURL.Swissnum})
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
		doors.close()
		return err
	}
	n.onClose(store.Close)
	hc := gbs.HandlerConfig{Server: store, Swissnum: server.FURL.Swissnum, Log: n.log.With("part", "storage")}
	if doors.onion {
		hc.HeaderTimeout = onionHeaderTimeout
	}
	handler := gbs.NewHandler(hc)
	n.onClose(func() error { return handler.Close(context.WithoutCancel(ctx)) })

	var loops []func(context.Context) error
	for _, l := range doors.listeners {
		loops = append(loops, func(ctx context.Context) error { return gbs.Serve(ctx, l, n.cert, handler) })
	}
	n.serve(ctx, "storage server", loops...)
	if doors.location.waits() {
		n.serve(ctx, "onion address", func(ctx context.Context) error { return n.follow(ctx, doors.location, told) })
	}
	n.note("storage server: shares in %s, open to clients at %s", n.cfg.Storage.Dir, describe(told, missing))
	if len(told) > 0 {
		n.note("storage server: give %s to those who may store here (tahoe add-server); it holds the key to it",
			filepath.Join(n.cfg.Dir, filepath.FromSlash(config.EntryFile)))
	}
	return nil
}

// hasShares reports whether a share directory was in use before.
func hasShares(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(dir, "shares"))
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return len(e.Name()) == 2 })
}
