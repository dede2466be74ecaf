package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"tahoe-go/internal/check/procgrid"
	"tahoe-go/internal/check/tortest"
)

const servers = 5

// demo is one run.
type demo struct {
	tahoe, file  string
	keep, system bool
	screen       *screen
	stayed       bool // all steps are done, and the grid was left up

	dir    string
	what   string // the file, for people
	hash   [32]byte
	size   int64
	net    *tortest.Network
	tor    []string // options of create-* that choose the tor
	hub    *procgrid.Process
	server [servers]*procgrid.Process
	client *procgrid.Process
	cap    string
}

// prepare makes the working folder and the file.
func (d *demo) prepare() (err error) {
	if d.tahoe, err = filepath.Abs(d.tahoe); err != nil {
		return err
	}
	if _, err := os.Stat(d.tahoe); err != nil {
		return fmt.Errorf("no program at %s; build it with: make build", d.tahoe)
	}
	// A short path: the names of unix sockets may have 107 bytes only.
	if d.dir, err = os.MkdirTemp("", "tahoe-demo-"); err != nil {
		return err
	}
	if d.file == "" {
		d.file = filepath.Join(d.dir, "demo.bin")
		if err := makeFile(d.file, 20<<20); err != nil {
			return err
		}
		d.what = "20 MiB of random bytes"
	} else {
		d.what = filepath.Base(d.file)
	}
	d.hash, d.size, err = hashFile(d.file)
	return err
}

func makeFile(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}

func hashFile(name string) (sum [32]byte, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return [32]byte(h.Sum(nil)), size, err
}

// network starts the private Tor network, or says that the machine's is used.
func (d *demo) network(ctx context.Context) error {
	if d.system {
		d.screen.say("using this machine's tor and the public Tor network")
		return nil
	}
	d.screen.say("starting a private one on loopback: 3 authorities, 7 relays (no packet leaves this machine)")
	start := time.Now()
	stop := d.screen.clock("waiting for its first onion connection")
	var err error
	for try := 0; try < 3; try++ {
		if d.net, err = tortest.Start(ctx, tortest.Config{KeyCache: cacheDir()}); err == nil || ctx.Err() != nil {
			break
		}
	}
	stop()
	if err != nil {
		return err
	}
	d.screen.done(start, "the network carries onion connections")
	wrapper := filepath.Join(d.dir, "tor")
	if err := procgrid.WriteTor(wrapper, d.net.Lines()); err != nil {
		return err
	}
	d.tor = []string{"--tor-launch", "--tor-executable=" + wrapper}
	return nil
}

// cacheDir keeps the authorities' keys between runs; without it they are made
// again.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "tahoe-go-demo-keys")
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

func name(i int) string { return fmt.Sprintf("server%d", i+1) }

// run runs one command of tahoe to its end.
func (d *demo) command(ctx context.Context, args ...string) (string, error) {
	return procgrid.Output(ctx, procgrid.Command{Binary: d.tahoe, Args: args})
}

const hub = "introducer"

// hubFile is what the nodes of the grid are given.
func (d *demo) hubFile() string { return filepath.Join(d.path(hub), "private", "introducer.furl") }

// startIntroducer makes and runs the introducer.
func (d *demo) startIntroducer(ctx context.Context) error {
	start := time.Now()
	args := append([]string{"-q", "create-introducer", "--listen=tor", "--hide-ip"}, d.tor...)
	if _, err := d.command(ctx, append(args, d.path(hub))...); err != nil {
		return err
	}
	if err := d.runHub(); err != nil {
		return err
	}
	if _, err := d.hub.WaitLine(ctx, " published at "); err != nil {
		return err
	}
	d.screen.done(start, "published at %s", d.onion(hub))
	d.screen.say("its private/introducer.furl is all that the other nodes are told")
	return nil
}

func (d *demo) runHub() (err error) {
	d.hub, err = procgrid.Start(hub, procgrid.Command{Binary: d.tahoe, Args: []string{"run", "--allow-stdin-close", d.path(hub)}})
	return err
}

// startServers makes and runs the storage servers.
func (d *demo) startServers(ctx context.Context) error {
	start := time.Now()
	for i := range servers {
		args := append([]string{"-q", "create-node", "--listen=tor", "--hide-ip", "--webport=none", "--nickname=" + name(i), "--introducer=" + d.hubFile()}, d.tor...)
		if _, err := d.command(ctx, append(args, d.path(name(i)))...); err != nil {
			return err
		}
		if err := d.runServer(i); err != nil {
			return err
		}
	}
	d.screen.say("each launches a tor of its own; its onion service leads to a unix socket, so no server has an open port")
	var wg sync.WaitGroup
	errs := make([]error, servers)
	for i, p := range d.server {
		wg.Go(func() {
			if _, errs[i] = p.WaitLine(ctx, " published at "); errs[i] == nil {
				d.screen.done(start, "%s is published at %s", name(i), d.onion(name(i)))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (d *demo) runServer(i int) (err error) {
	d.server[i], err = procgrid.Start(name(i), procgrid.Command{Binary: d.tahoe, Args: []string{"run", "--allow-stdin-close", d.path(name(i))}})
	return err
}

var onionName = regexp.MustCompile(`[a-z2-7]{56}\.onion`)

// onion is where a node is reached.
func (d *demo) onion(node string) string {
	b, err := os.ReadFile(filepath.Join(d.path(node), "tahoe.cfg"))
	if err != nil {
		return "?"
	}
	return onionName.FindString(string(b))
}

// startClient makes and runs the client and waits for all servers.
func (d *demo) startClient(ctx context.Context) error {
	start := time.Now()
	args := append([]string{"-q", "create-client", "--hide-ip", "--webport=tcp:0:interface=127.0.0.1", "--nickname=client", "--introducer=" + d.hubFile(),
		"--shares-needed=3", "--shares-happy=4", "--shares-total=5"}, d.tor...)
	if _, err := d.command(ctx, append(args, d.path("client"))...); err != nil {
		return err
	}
	cfg, err := os.ReadFile(filepath.Join(d.path("client"), "tahoe.cfg"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(cfg)) {
		if strings.HasPrefix(line, "reveal-IP-address") || strings.HasPrefix(line, "tcp =") {
			d.screen.say("%s", strings.TrimSpace(line))
		}
	}
	d.client, err = procgrid.Start("client", procgrid.Command{Binary: d.tahoe, Args: []string{"run", "--allow-stdin-close", d.path("client")}})
	if err != nil {
		return err
	}
	stop := d.screen.clock("asking the introducer, connecting to the five onion services")
	_, err = d.client.WaitLine(ctx, fmt.Sprintf("storage servers: %d of %d connected", servers, servers))
	stop()
	if err != nil {
		return err
	}
	d.screen.done(start, "heard of five servers and connected to all, each over a circuit of its own")
	return nil
}

// put stores the file.
func (d *demo) put(ctx context.Context) error {
	start := time.Now()
	out, err := d.again(ctx, func(ctx context.Context) (string, error) {
		return procgrid.Output(ctx, procgrid.Command{Binary: d.tahoe, Args: []string{"-d", d.path("client"), "put", d.file}, Stderr: d.screen.progress()})
	})
	if err != nil {
		return err
	}
	d.cap = strings.TrimSpace(out)
	d.rate(start, "stored")
	d.screen.say("cap: %s", d.cap)
	return nil
}

// get fetches the file and compares it.
func (d *demo) get(ctx context.Context) error {
	start := time.Now()
	got := d.path("fetched")
	_, err := d.again(ctx, func(ctx context.Context) (string, error) {
		return procgrid.Output(ctx, procgrid.Command{Binary: d.tahoe, Stdin: strings.NewReader(d.cap + "\n"),
			Args: []string{"-d", d.path("client"), "get", "-", got}, Stderr: d.screen.progress()})
	})
	if err != nil {
		return err
	}
	d.rate(start, "fetched")
	hash, _, err := hashFile(got)
	if err != nil {
		return err
	}
	if hash != d.hash {
		return errors.New("what came back is not what was put")
	}
	d.screen.say("compared: the same %s, SHA-256 %x...", humanize.Comma(d.size)+" bytes", hash[:8])
	return os.Remove(got)
}

// again tries twice more: a young Tor network stalls now and then.
func (d *demo) again(ctx context.Context, f func(context.Context) (string, error)) (out string, err error) {
	for try := range 3 {
		out, err = f(ctx)
		if err == nil || ctx.Err() != nil {
			return out, err
		}
		if try < 2 {
			d.screen.say("it failed (%v); trying again", err)
		}
	}
	return out, err
}

func (d *demo) rate(start time.Time, verb string) {
	took := time.Since(start)
	d.screen.done(start, "%s, %s/s", verb, humanize.IBytes(uint64(float64(d.size)/took.Seconds())))
}

// table shows what each server holds.
func (d *demo) table(context.Context) error {
	d.screen.row("server", "address", "shares", "bytes on its disk")
	for i := range servers {
		shares, size, err := held(filepath.Join(d.path(name(i)), "storage", "shares"))
		if err != nil {
			return err
		}
		d.screen.row(name(i), d.onion(name(i)), fmt.Sprint(shares), humanize.Comma(size))
	}
	return nil
}

// held counts the complete shares in a store.
func held(dir string) (shares int, size int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if err == nil && e.Name() == "incoming" {
				return fs.SkipDir
			}
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		shares++
		size += info.Size()
		return nil
	})
	return shares, size, err
}

// stopped are the servers that are stopped before the last get.
var stopped = []int{0, 3}

// getWithServersMissing proves that any three servers suffice, and that nobody
// needs the introducer for what it has told.
func (d *demo) getWithServersMissing(ctx context.Context) error {
	for _, i := range stopped {
		if err := d.server[i].Stop(); err != nil {
			return err
		}
		d.screen.say("%s has been stopped", name(i))
	}
	if err := d.hub.Stop(); err != nil {
		return err
	}
	d.screen.say("the introducer has been stopped")
	return d.get(ctx)
}

// stay has all servers run again and leaves the grid up until it is
// interrupted.
func (d *demo) stay(ctx context.Context) error {
	for _, i := range stopped {
		if err := d.runServer(i); err != nil {
			return err
		}
	}
	if err := d.runHub(); err != nil {
		return err
	}
	url, err := os.ReadFile(filepath.Join(d.path("client"), "node.url"))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "\nThe grid stays up until you press Ctrl-C.\n  web page:  %s\n", strings.TrimSpace(string(url)))
	for _, line := range []string{"status", "put FILE", "get CAP FILE"} {
		fmt.Fprintf(&b, "  %s -d %s %s\n", d.tahoe, d.path("client"), line)
	}
	d.screen.raw(b.String())
	<-ctx.Done()
	return nil
}

// cleanUp stops and removes everything.
func (d *demo) cleanUp() {
	var wg sync.WaitGroup
	for _, p := range append(d.server[:], d.client, d.hub) {
		if p != nil {
			wg.Go(func() { p.Stop() })
		}
	}
	wg.Wait()
	if d.net != nil {
		d.net.Stop()
	}
	if d.dir != "" {
		os.RemoveAll(d.dir)
	}
}
