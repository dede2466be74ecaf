package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"tahoe-go/internal/check/procgrid"
	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// gridServers is how many server processes the loopback grid has.
const gridServers = 10

// mib is one MiB.
const mib = 1 << 20

// rig is a grid that runs, with its client.
type rig struct {
	b       *bench
	grid    *procgrid.Grid
	servers []*procgrid.Node
	client  *procgrid.Node
	gateway *webclient.Client
	data    []byte // random; files are its beginnings
	serial  uint64
}

// grid are the rows of a grid of processes on loopback.
func (b *bench) grid(ctx context.Context) (err error) {
	r, err := b.startGrid(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	r.data = randomBytes(500 * mib)
	for _, step := range []func(context.Context) error{r.idle, r.sizes, r.small, r.firstByte, r.memory, r.starts} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) startGrid(ctx context.Context) (*rig, error) {
	r := &rig{b: b, grid: &procgrid.Grid{Binary: b.tahoe, Dir: filepath.Join(b.dir, "loopback")}}
	if err := os.Mkdir(r.grid.Dir, 0o700); err != nil {
		return nil, err
	}
	for i := range gridServers {
		n, err := r.grid.Server(ctx, fmt.Sprintf("server%02d", i), "--hostname=127.0.0.1")
		if err != nil {
			return r, err
		}
		r.servers = append(r.servers, n)
	}
	if err := r.grid.NewClient(ctx, "client", "", r.servers); err != nil {
		return r, err
	}
	return r, r.startClient(ctx, "client")
}

// startClient runs the client until all servers are connected.
func (r *rig) startClient(ctx context.Context, name string) (err error) {
	if r.client, err = r.grid.Run(ctx, name); err != nil {
		return err
	}
	if err := r.client.Servers(ctx, len(r.servers), len(r.servers)); err != nil {
		return err
	}
	r.gateway, err = r.client.Gateway()
	return err
}

func (r *rig) stop() error {
	if r.gateway != nil {
		r.gateway.Close()
	}
	return errors.Join(r.grid.Stop(), os.RemoveAll(r.grid.Dir))
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	var seed [32]byte
	seed[0] = byte(time.Now().UnixNano()) // a file that no server has yet
	rand.NewChaCha8(seed).Read(p)
	return p
}

// file returns a file that was not stored before.
func (r *rig) file(size int) []byte {
	r.serial++
	for i := range 8 {
		r.data[i] = byte(r.serial >> (8 * i))
	}
	return r.data[:size]
}

func (r *rig) put(ctx context.Context, data []byte) (caps.Cap, time.Duration, error) {
	start := time.Now()
	cap, err := r.gateway.Put(ctx, bytes.NewReader(data), int64(len(data)), webclient.PutOptions{})
	return cap, time.Since(start), err
}

// get fetches a file, which has to be data.
func (r *rig) get(ctx context.Context, cap caps.Cap, data []byte) (time.Duration, error) {
	start := time.Now()
	w := &compare{want: data}
	_, err := r.gateway.Get(ctx, cap, w, webclient.GetOptions{})
	took := time.Since(start)
	if err == nil && len(w.want) > 0 {
		err = fmt.Errorf("the file is %d bytes short", len(w.want))
	}
	return took, err
}

// compare accepts one sequence of bytes. Comparing costs a hundredth of what
// fetching does.
type compare struct {
	want  []byte
	first time.Time // of the first byte
}

func (c *compare) Write(p []byte) (int, error) {
	if c.first.IsZero() {
		c.first = time.Now()
	}
	if len(p) > len(c.want) || !bytes.Equal(p, c.want[:len(p)]) {
		return 0, errors.New("what came back is not what was put")
	}
	c.want = c.want[len(p):]
	return len(p), nil
}

// limits is what the machine would allow for 3-of-10 on one machine, in MB/s:
// every byte hashed, enciphered and sent as often as the format asks, over all
// cores, both ends of the TLS included.
func (b *bench) limits() (put, get float64) {
	const expand = 10.0 / 3
	cores := float64(runtime.NumCPU())
	put = cores / ((3+expand)/b.m.sha + 1/b.m.aes + expand/b.m.tlsCPU + expand/b.m.file)
	get = cores / (2/b.m.sha + 1/b.m.aes + 1/b.m.tlsCPU)
	return put, get
}

// sizes puts and gets files of each size.
func (r *rig) sizes(ctx context.Context) error {
	putLimit, getLimit := r.b.limits()
	for _, size := range []int{1, 10, 100, 500} {
		rounds := r.b.rounds
		if size >= 500 {
			rounds = 1
		}
		var puts, gets []time.Duration
		var putNote, getNote string
		mb := float64(size) * mib / 1e6
		for range rounds {
			data := r.file(size * mib)
			var cap caps.Cap
			note, err := r.watch(mb, func() error {
				c, took, err := r.put(ctx, data)
				cap, puts = c, append(puts, took)
				return err
			})
			if err != nil {
				return fmt.Errorf("put of %d MiB: %w", size, err)
			}
			putNote = note
			note, err = r.watch(mb, func() error {
				took, err := r.get(ctx, cap, data)
				gets = append(gets, took)
				return err
			})
			if err != nil {
				return fmt.Errorf("get of %d MiB: %w", size, err)
			}
			getNote = note
		}
		putRow := rate(fmt.Sprintf("put %d MiB", size), size, median(puts), putLimit, putNote)
		getRow := rate(fmt.Sprintf("get %d MiB", size), size, median(gets), getLimit, getNote)
		if size >= 100 {
			putRow.target, getRow.target = 120, 400
		}
		r.b.out.add(putRow)
		r.b.out.add(getRow)
	}
	return nil
}

func rate(name string, size int, took time.Duration, limit float64, note string) row {
	return row{name: name, got: float64(size) * mib / 1e6 / took.Seconds(), unit: "MB/s", limit: limit,
		note: fmt.Sprintf("%.3f s; the last run: %s", took.Seconds(), note)}
}

// watch runs f and says who used the processors meanwhile, and how many of mb
// megabytes our processes moved in each second of theirs.
func (r *rig) watch(mb float64, f func() error) (note string, err error) {
	start, all, client, servers, own := time.Now(), busy(), r.clientCPU(), r.serverCPU(), ownCPU()
	err = f()
	took := time.Since(start)
	c, s, o := r.clientCPU()-client, r.serverCPU()-servers, ownCPU()-own
	note = fmt.Sprintf("processors: client %d %%, servers %d %%, bench %d %%, strangers %d %%", share(c, took), share(s, took), share(o, took), share(busy()-all-c-s-o, took))
	if used := c + s + o; mb > 0 && used > 0 {
		note += fmt.Sprintf("; %.0f MB per processor second", mb/used.Seconds())
	}
	return note, err
}

// share is how much of all processors' time was used, in percent.
func share(used, span time.Duration) int {
	return int(max(100*used/max(span*time.Duration(runtime.NumCPU()), 1), 0))
}

func (r *rig) clientCPU() time.Duration { d, _ := r.client.CPU(); return d }

func (r *rig) serverCPU() (sum time.Duration) {
	for _, s := range r.servers {
		d, _ := s.CPU()
		sum += d
	}
	return sum
}

// small puts many small files one after another.
func (r *rig) small(ctx context.Context) error {
	return r.manySmall(ctx, "200 puts of 10 KiB, one after another", 4)
}

// manySmall is small, for a row of that name with that target in seconds.
func (r *rig) manySmall(ctx context.Context, name string, target float64) error {
	const files, size = 200, 10 << 10
	start := time.Now()
	note, err := r.watch(0, func() error {
		for range files {
			if _, _, err := r.put(ctx, r.file(size)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.b.out.add(row{name: name, got: time.Since(start).Seconds(), unit: "s", target: target, note: note})
	return nil
}

// watchPut is put, with the note of watch.
func (r *rig) watchPut(ctx context.Context, data []byte) (cap caps.Cap, took time.Duration, note string, err error) {
	note, err = r.watch(float64(len(data))/1e6, func() (err error) {
		cap, took, err = r.put(ctx, data)
		return err
	})
	return cap, took, note, err
}

// firstByte measures until the first byte of a big file is here.
func (r *rig) firstByte(ctx context.Context) error {
	data := r.file(100 * mib)
	cap, _, err := r.put(ctx, data)
	if err != nil {
		return err
	}
	var firsts []time.Duration
	for range 5 {
		start := time.Now()
		w := &compare{want: data}
		if _, err := r.gateway.Get(ctx, cap, w, webclient.GetOptions{}); err != nil {
			return err
		}
		firsts = append(firsts, w.first.Sub(start))
	}
	r.b.out.add(row{name: "first byte of a 100 MiB get", got: ms(median(firsts)), unit: "ms", target: 20})
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// memory is the most that the client and the largest server have used so far.
func (r *rig) memory(context.Context) error {
	_, peak, err := r.client.Memory()
	if err != nil {
		return err
	}
	var servers int64
	for _, s := range r.servers {
		_, p, err := s.Memory()
		if err != nil {
			return err
		}
		servers = max(servers, p)
	}
	r.b.out.add(row{name: "client's memory at its peak, 500 MiB files", got: float64(peak) / mib, unit: "MiB", target: 100})
	r.b.out.add(row{name: "largest server's memory at its peak", got: float64(servers) / mib, unit: "MiB"})
	return nil
}

// idle watches the grid while nobody asks for anything.
func (r *rig) idle(ctx context.Context) error {
	const settle, span = 5 * time.Second, 30 * time.Second
	if err := pause(ctx, settle); err != nil { // until what follows the start is over
		return err
	}
	before := r.clientCPU() + r.serverCPU()
	if err := pause(ctx, span); err != nil {
		return err
	}
	used := r.clientCPU() + r.serverCPU() - before
	// The kernel counts in hundredths of a second.
	r.b.out.add(row{name: "idle: processor use of all 11 nodes", got: 100 * used.Seconds() / span.Seconds(), unit: "% of a core", target: 0.5,
		note: fmt.Sprintf("%v in %v", used, span)})
	client, _, err := r.client.Memory()
	if err != nil {
		return err
	}
	var servers []int64
	for _, s := range r.servers {
		now, _, err := s.Memory()
		if err != nil {
			return err
		}
		servers = append(servers, now)
	}
	r.b.out.add(row{name: "idle: client's memory", got: float64(client) / mib, unit: "MiB"})
	r.b.out.add(row{name: "idle: largest server's memory", got: float64(slices.Max(servers)) / mib, unit: "MiB"})
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// starts measures the start of processes.
func (r *rig) starts(ctx context.Context) error {
	var version, ready, connected []time.Duration
	for range 5 {
		start := time.Now()
		if _, err := r.grid.Do(ctx, "version"); err != nil {
			return err
		}
		version = append(version, time.Since(start))
		r.gateway.Close()
		if err := r.client.Stop(); err != nil {
			return err
		}
		start = time.Now()
		if err := r.startClient(ctx, "client"); err != nil {
			return err
		}
		ready, connected = append(ready, r.client.Took), append(connected, time.Since(start))
	}
	r.b.out.add(row{name: "tahoe version", got: ms(median(version)), unit: "ms"})
	r.b.out.add(row{name: "client: process start until it runs", got: ms(median(ready)), unit: "ms", target: 100})
	r.b.out.add(row{name: "client: process start until 10 servers", got: ms(median(connected)), unit: "ms"})
	return nil
}
