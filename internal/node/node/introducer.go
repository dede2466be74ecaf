package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/node/config"
)

// startIntroducer serves announcements to the nodes of a grid at every place
// that tub.port and the onion services name.
func (n *Node) startIntroducer(ctx context.Context) error {
	d, err := n.openDoors(ctx)
	if err != nil {
		return err
	}
	told, missing := d.location.hints(n.tor)
	f, err := n.introducerFURL(told)
	if err != nil {
		d.close()
		return err
	}
	d.self.know(n.tubProof(f))
	private, err := os.OpenRoot(filepath.Join(n.cfg.Dir, config.PrivateDir))
	if err != nil {
		d.close()
		return fmt.Errorf("opening the private folder: %w", err)
	}
	n.onClose(private.Close)
	n.intro, err = introducer.NewServer(introducer.ServerConfig{
		Tub: n.tub, Swissnum: f.Swissnum, Root: private, Log: n.log.With("part", "introducer"),
	})
	if err != nil {
		d.close()
		return err
	}
	n.onClose(n.intro.Close)
	n.serve(ctx, "introducer", d.foolscapOnly(n)...)
	tell := func(hints []furl.Hint) error {
		_, err := n.introducerFURL(hints)
		return err
	}
	if d.location.waits() {
		n.serve(ctx, "onion address", func(ctx context.Context) error { return n.follow(ctx, d.location, told, tell) })
	}
	n.note("introducer: open to the nodes of the grid at %s", describe(told, missing))
	n.note("introducer: give the address in %s to those who may join (tahoe create-node --introducer); it holds the key to the grid",
		filepath.Join(n.cfg.Dir, filepath.FromSlash(config.IntroducerFURLFile)))
	return nil
}

// introducerFURL makes these hints the ones in the address that others are
// given. Its secret stays the same.
func (n *Node) introducerFURL(hints []furl.Hint) (furl.FURL, error) {
	if err := config.MoveIntroducerFURL(n.cfg.Dir); err != nil {
		return furl.FURL{}, err
	}
	f, err := config.EnsureFURL(n.cfg.Dir, config.IntroducerFURLFile, n.cert.TubID(), hints)
	if err == nil {
		n.tub.SetHints(hints)
	}
	return f, err
}
