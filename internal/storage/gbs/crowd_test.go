package gbs

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/kit/redact"
)

// TestCrowd keeps 1,000 useless connections open over real sockets, of four
// kinds, while a good client works, and prints what that costs.
func TestCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: leaving out a thousand connections")
	}
	r := newLoopbackRig(t, nil, HandlerConfig{HeaderTimeout: time.Minute})
	c := r.newClient(t, Config{})
	fill(t, r.store, testIndex(t), 1, 1<<20)
	work(t, c, 5) // warm up
	alone := work(t, c, 40)
	before := heap()

	const crowd = 1000
	auth := authorization(redact.New(testSwissnum))
	begin := map[int]string{
		1: "", // handshake done, silent
		2: "GET /storage/v1/version HTTP/1.1\r\nHost: ",
		3: fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%sContent-Range: bytes 0-999999/*\r\nContent-Length: 1000000\r\n\r\nxx", indexPath+"/9", auth, secretLines(uploadLine)),
	}
	r.begin(t, uploadLine, 1_000_000, 9)
	var wg sync.WaitGroup
	conns := make(chan net.Conn, crowd)
	gate := make(chan struct{}, 16)
	for i := range crowd {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			raw, err := r.client.Dial(t.Context(), r.addr)
			if err != nil {
				t.Error(err)
				return
			}
			conns <- raw
			if i%4 == 0 {
				return // not even a handshake
			}
			tc := tls.Client(raw, pinned(testCert().SPKI(), ""))
			if err := tc.HandshakeContext(t.Context()); err != nil {
				t.Error(err)
			}
			io.WriteString(tc, begin[i%4])
		})
	}
	wg.Wait()
	beside := work(t, c, 40)
	cost := heap() - before
	t.Logf("good client, 1 MiB read and version poll: alone median %v, slowest %v; beside %d slow connections median %v, slowest %v",
		alone[len(alone)/2], alone[len(alone)-1], crowd, beside[len(beside)/2], beside[len(beside)-1])
	t.Logf("memory for both ends of them: %d KiB, %d KiB each", cost>>10, cost>>10/crowd)
	if cost > crowd*400<<10 {
		t.Errorf("%d slow connections cost %d MiB", crowd, cost>>20)
	}
	if beside[len(beside)/2] > 20*alone[len(alone)/2]+100*time.Millisecond {
		t.Error("slow connections slow down a good client")
	}
	close(conns)
	for c := range conns {
		c.Close()
	}
}

// work does n rounds of polling and reading and returns how long each took,
// ascending.
func work(t *testing.T, c *Client, n int) []time.Duration {
	t.Helper()
	p := make([]byte, 1<<20)
	var took []time.Duration
	for range n {
		start := time.Now()
		if _, err := c.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := (shareReader{c, path{res: resShare, si: testIndex(t)}}).ReadAt(t.Context(), p, 0); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took
}

// heap is what is in use now: live objects and stacks.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
