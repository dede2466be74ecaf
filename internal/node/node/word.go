package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/grid/introducer"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/node/config"
)

// announcer tells introducers of this node's storage server, and again
// whenever it is to be found elsewhere.
type announcer struct {
	mu      sync.Mutex       // guards below
	server  *announce.Server // nil: there is nothing to tell
	clients []*introducer.Client

	news signal // an introducer was heard out, or has gone
}

// signal wakes all who wait for something to change.
type signal struct {
	mu      sync.Mutex    // guards below
	changed chan struct{} // closed at the next change; nil: nobody waits
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *signal) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// offer has every introducer told of s from now on.
func (a *announcer) offer(s announce.Server) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server = &s
	var errs []error
	for _, c := range a.clients {
		errs = append(errs, c.Publish(s))
	}
	return errors.Join(errs...)
}

// join has one more introducer told.
func (a *announcer) join(c *introducer.Client) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clients = append(a.clients, c)
	if a.server == nil {
		return nil
	}
	return c.Publish(*a.server)
}

// retry has the introducers connected to at once.
func (a *announcer) retry() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.clients {
		c.Retry()
	}
}

// introducers says how each introducer is doing.
func (n *Node) introducers() (all []introducer.ClientStatus) {
	n.word.mu.Lock()
	clients := slices.Clone(n.word.clients)
	n.word.mu.Unlock()
	for _, c := range clients {
		all = append(all, c.Status())
	}
	return all
}

// startIntroducerClients hears of storage servers from the introducers, and of
// what they said in earlier runs at once, and has them spread the word of this
// node's own. A node that neither stores files nor offers storage has nothing
// to say to them.
func (n *Node) startIntroducerClients(context.Context) error {
	if len(n.cfg.Introducers) == 0 || n.grid == nil && !n.cfg.Storage.Enabled {
		return nil
	}
	key, err := announce.SigningKeyOf(n.identity.NodeKey)
	if err != nil {
		return fmt.Errorf("the key for announcements: %w", err)
	}
	private, err := os.OpenRoot(filepath.Join(n.cfg.Dir, config.PrivateDir))
	if err != nil {
		return fmt.Errorf("opening the private folder: %w", err)
	}
	n.onClose(private.Close)
	for _, i := range n.cfg.Introducers {
		tub, err := n.introducerTub()
		if err != nil {
			return err
		}
		c := introducer.ClientConfig{
			Tub: tub, FURL: i.FURL, Petname: i.Petname,
			Isolation: "introducer:" + i.FURL.TubID,
			Nickname:  n.cfg.Node.Nickname,
			Private:   private, Cache: introducer.CacheFile(i.Petname),
			Key: key, Sequence: func() (int64, error) { return config.NextSeqnum(n.cfg.Dir) },
			Changed: n.word.news.give,
			Log:     n.log.With("part", "introducer"),
		}
		if n.grid != nil {
			c.Sink = n.grid.Source(i.Petname)
		}
		client, err := introducer.NewClient(c)
		if err != nil {
			return fmt.Errorf("introducer %s: %w", i.Petname, err)
		}
		n.onClose(func() error { client.Close(); return nil })
		if err := n.word.join(client); err != nil {
			return fmt.Errorf("introducer %s: %w", i.Petname, err)
		}
	}
	return nil
}

// introducerTub is who this node is to an introducer: the storage server it
// announces, or nobody that anyone else knows.
func (n *Node) introducerTub() (*foolscap.Tub, error) {
	if n.cfg.Storage.Enabled {
		return n.tub, nil
	}
	tub, err := contact.NewTub(n.network, n.tubLimits(), n.log.With("part", "foolscap"))
	if err != nil {
		return nil, err
	}
	n.onClose(func() error { return closeTub(tub) })
	return tub, nil
}
