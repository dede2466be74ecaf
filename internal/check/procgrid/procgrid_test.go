package procgrid

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/check/leakcheck"
	"tahoe-go/internal/face/webclient"
)

// A grid of real processes is started, used, measured and stopped, and leaves
// nothing.
func TestGrid(t *testing.T) {
	leakcheck.Check(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g := &Grid{Binary: Build(t), Dir: t.TempDir()}
	defer g.Stop()
	var servers []*Node
	for _, name := range []string{"ann", "bob"} {
		n, err := g.Server(ctx, name, "--hostname=127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, n)
	}
	if err := g.NewClient(ctx, "me", "", servers, "--shares-needed=1", "--shares-happy=2", "--shares-total=2"); err != nil {
		t.Fatal(err)
	}
	me, err := g.Run(ctx, "me")
	if err != nil {
		t.Fatal(err)
	}
	if err := me.Servers(ctx, 2, 2); err != nil {
		t.Fatal(err)
	}
	gw, err := me.Gateway()
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	data := bytes.Repeat([]byte("procgrid "), 10_000)
	cap, err := gw.Put(ctx, bytes.NewReader(data), int64(len(data)), webclient.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	servers[0].Kill()
	var got bytes.Buffer
	if _, err := gw.Get(ctx, cap, &got, webclient.GetOptions{}); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("got %d bytes, equal %v: %v", got.Len(), bytes.Equal(got.Bytes(), data), err)
	}
	if runtime.GOOS == "linux" {
		now, peak, err := me.Memory()
		if err != nil || now < 1<<20 || peak < now {
			t.Errorf("memory %d, peak %d, %v", now, peak, err)
		}
		if cpu, err := me.CPU(); err != nil || cpu < 0 || cpu > time.Minute {
			t.Errorf("processor time %v, %v", cpu, err)
		}
	}
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	for _, n := range []*Node{servers[1], me} {
		if log := n.Log(); !strings.Contains(log, "stopping") {
			t.Errorf("%s did not stop in order:\n%s", n.Name, log)
		}
	}
}

// What a process says on its way out is in the error of who waits for more.
func TestEnds(t *testing.T) {
	g := &Grid{Binary: Build(t), Dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(g.Dir, "no-node"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Run(t.Context(), "no-node"); err == nil || !strings.Contains(err.Error(), "is not a node directory") {
		t.Errorf("running what is no node: %v", err)
	}
	if _, err := g.Do(t.Context(), "put", "--no-such-option"); err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("a command that fails: %v", err)
	}
}
