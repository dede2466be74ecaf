package procgrid

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/face/webclient"
)

// Grid is a folder of nodes that run the same program. Its methods may be
// called concurrently. Stop it.
type Grid struct {
	Binary string // the built program
	Dir    string // a short path: unix sockets lie below it
	Env    []string

	mu    sync.Mutex // guards below
	nodes []*Node
}

// Node is a node of a Grid that runs.
type Node struct {
	*Process
	Dir  string
	Wrap []string      // as in Command
	Took time.Duration // from the start of the process until it said that it runs

	g *Grid
}

// Server makes a storage server with the given options of create-node, and
// runs it.
func (g *Grid) Server(ctx context.Context, name string, options ...string) (*Node, error) {
	args := append([]string{"create-node", "--webport=none", "--nickname=" + name}, options...)
	if _, err := g.Do(ctx, append(args, g.dir(name))...); err != nil {
		return nil, err
	}
	return g.Run(ctx, name)
}

// NewClient makes a client with the given options of create-client, further
// lines of configuration and storage servers. Its gateway is at a free port.
// It does not run yet.
func (g *Grid) NewClient(ctx context.Context, name, config string, servers []*Node, options ...string) error {
	args := append([]string{"create-client", "--webport=tcp:0:interface=127.0.0.1", "--nickname=" + name}, options...)
	if _, err := g.Do(ctx, append(args, g.dir(name))...); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(g.dir(name), "tahoe.cfg"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + config)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, s := range servers {
		if _, err := g.Do(ctx, "-d", g.dir(name), "add-server", filepath.Join(s.Dir, "private", "server-entry.yaml")); err != nil {
			return err
		}
	}
	return nil
}

// Run runs a node that was made before, by wrap if given, and waits until it
// says so. That it has found Tor or servers is another thing: see WaitLine.
func (g *Grid) Run(ctx context.Context, name string, wrap ...string) (*Node, error) {
	n := &Node{Dir: g.dir(name), Wrap: wrap, g: g}
	start := time.Now()
	p, err := Start(name, Command{Binary: g.Binary, Args: []string{"run", "--allow-stdin-close", n.Dir}, Env: g.Env, Wrap: wrap})
	if err != nil {
		return nil, err
	}
	n.Process = p
	g.mu.Lock()
	g.nodes = append(g.nodes, n)
	g.mu.Unlock()
	if _, err := p.WaitLine(ctx, " running"); err != nil {
		return nil, err
	}
	n.Took = time.Since(start)
	return n, nil
}

// Do runs one command to its end and returns its standard output.
func (g *Grid) Do(ctx context.Context, args ...string) (string, error) {
	return Output(ctx, Command{Binary: g.Binary, Args: args, Env: g.Env})
}

// Stop ends every node that still runs, all at once.
func (g *Grid) Stop() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	errs := make([]error, len(g.nodes))
	var wg sync.WaitGroup
	for i, n := range g.nodes {
		wg.Go(func() {
			select {
			case <-n.Done():
			default:
				errs[i] = n.Stop()
			}
		})
	}
	wg.Wait()
	g.nodes = nil
	return errors.Join(errs...)
}

func (g *Grid) dir(name string) string { return filepath.Join(g.Dir, name) }

// Servers waits until the client has so many servers connected.
func (n *Node) Servers(ctx context.Context, want, known int) error {
	_, err := n.WaitLine(ctx, fmt.Sprintf("storage servers: %d of %d connected", want, known))
	return err
}

// Gateway returns a client of the node's gateway.
func (n *Node) Gateway() (*webclient.Client, error) {
	url, err := os.ReadFile(filepath.Join(n.Dir, "node.url"))
	if err != nil {
		return nil, err
	}
	return webclient.New(webclient.Config{URL: strings.TrimSpace(string(url))})
}

// WriteTor writes a program that runs tor with further torrc lines, such as
// those of tortest's networks: for tor.executable of a node that launches its
// own tor. What the node says itself is left out.
func WriteTor(name string, torrc []string) error {
	var b strings.Builder
	b.WriteString("#!/bin/sh\nexec tor \"$@\"")
	for _, l := range torrc {
		key, value, _ := strings.Cut(l, " ")
		switch key {
		case "Log", "__OwningControllerProcess", "RunAsDaemon", "DataDirectory":
			continue
		}
		fmt.Fprintf(&b, " \\\n  --%s '%s'", key, value)
	}
	return os.WriteFile(name, []byte(b.String()+"\n"), 0o700)
}
