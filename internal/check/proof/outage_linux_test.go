package proof

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// putSize and getSize are long enough under way to be struck in the middle: a
// download reads 12 MiB ahead.
const putSize, getSize = 8 << 20, 24 << 20

// struck are the clients whose tor dies: one's own, killed as by a crash, and
// the machine's two, which other nodes use too, among them servers.
func (g *grid) struck() []*node {
	var found []*node
	for _, r := range g.roads {
		if r.name == "launched" || r.name == "unix" || r.name == "tcp" {
			found = append(found, r.client)
		}
	}
	return found
}

// strike kills a node's tor. One that the node launched it must start again
// itself; the machine's is started by somebody else.
func (g *grid) strike(n *node) error {
	switch n.name {
	case "unix":
		return g.unixTor.Restart()
	case "tcp":
		return g.tcpTor.Restart()
	}
	pids := torsOf(n.dir)
	if len(pids) == 0 {
		return fmt.Errorf("%s has no tor of its own", n.name)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// torsOf finds the tor that a node has launched, by the folder it works in.
func torsOf(dir string) (pids []int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		text, _ := os.ReadFile(file)
		argv := strings.Split(string(text), "\x00")
		if filepath.Base(argv[0]) != "tor" || !strings.Contains(string(text), dir+"/") {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// acrossOutage has each struck client do a transfer, kills its tor once part
// has gone, and waits for the transfer to end well.
func (g *grid) acrossOutage(t *testing.T, transfer func(t *testing.T, n *node, hit func())) {
	var all sync.WaitGroup
	for _, n := range g.struck() {
		all.Go(func() {
			t.Run(n.name, func(t *testing.T) {
				defer func() {
					if t.Failed() {
						for _, s := range g.onions {
							t.Logf("%s says:\n%s", s.name, s.tail(t))
						}
					}
				}()
				var when time.Time
				start := time.Now()
				transfer(t, n, func() {
					when = time.Now()
					if err := g.strike(n); err != nil {
						t.Error(err)
					}
				})
				if when.IsZero() {
					t.Error("the transfer was over before tor could be killed")
				}
				n.alive(t)
				t.Logf("tor killed after %.1f s, done %.1f s later", when.Sub(start).Seconds(), time.Since(when).Seconds())
			})
		})
	}
	all.Wait()
}

// outageTime is the longest that a transfer may take across an outage.
const outageTime = 100 * time.Second

func (g *grid) putAcrossOutage(t *testing.T) {
	g.acrossOutage(t, func(t *testing.T, n *node, hit func()) {
		data := content(putSize)
		ctx, cancel := context.WithTimeout(t.Context(), outageTime)
		defer cancel()
		over := make(chan struct{})
		var watching sync.WaitGroup
		watching.Go(func() {
			if g.sent(ctx, t, n, over) {
				hit()
			}
		})
		out, _, err := g.do(ctx, command{args: []string{"-d", n.dir, "put"}, stdin: string(data)})
		close(over)
		watching.Wait()
		if err != nil {
			t.Fatalf("%v\n%s", err, n.tail(t))
		}
		cap := g.stored(t, out, data)
		g.get(t, n, cap, data)
	})
}

// sent returns true once a part of the upload has gone to servers.
func (g *grid) sent(ctx context.Context, t *testing.T, n *node, over chan struct{}) bool {
	gw := n.gateway(t)
	for {
		st, err := gw.Status(ctx)
		if err != nil {
			t.Error(err)
			return false
		}
		for _, op := range st.Active {
			if op.Type == "upload" && op.Stage == "sending" && op.Done > putSize/4 {
				return true
			}
		}
		select {
		case <-over:
			return false
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (g *grid) getAcrossOutage(t *testing.T) {
	data := content(getSize)
	var cap string
	for _, n := range g.struck() {
		if n.name == "unix" {
			cap = g.put(t, n, data)
		}
	}
	g.acrossOutage(t, func(t *testing.T, n *node, hit func()) {
		ctx, cancel := context.WithTimeout(t.Context(), outageTime)
		defer cancel()
		argv := append(g.wrapped(nil, false), g.bin, "-d", n.dir, "get", "-", "-")
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdin = strings.NewReader(cap + "\n")
		out := &tripwire{after: getSize / 4, hit: hit}
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = out, &errs
		err := cmd.Run()
		g.heard(errs.String())
		if err != nil {
			t.Fatalf("get: %v: %s\n%s", err, errs.String(), n.tail(t))
		}
		if !bytes.Equal(out.got.Bytes(), data) {
			t.Errorf("%d bytes came back that differ from the %d that were put", out.got.Len(), len(data))
		}
	})
}

// tripwire calls hit once so many bytes have been written.
type tripwire struct {
	got   bytes.Buffer // not embedded: it would be read into without Write
	after int
	hit   func()
}

func (w *tripwire) Write(p []byte) (int, error) {
	n, err := w.got.Write(p)
	if w.hit != nil && w.got.Len() > w.after {
		w.hit()
		w.hit = nil
	}
	return n, err
}
