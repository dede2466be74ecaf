package gridtest

import (
	"bytes"
	"testing"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/storage/faultstore"
)

var foolscapOnly = []grid.Protocol{grid.Foolscap}

// A grid of servers that speak nothing but Foolscap.
func TestAllWellByFoolscap(t *testing.T) {
	for _, size := range []int{56, 100_001, 3_000_000} {
		Run(t, Config{SegmentSize: 128 << 10, Protocols: foolscapOnly}, func(t *testing.T, g *Grid) {
			data := Content(size)
			res, cap := g.Client.MustPut(data)
			if res.Happy != 10 || res.Pushed != 10 {
				t.Errorf("%d bytes: %+v", size, res)
			}
			g.Client.MustGet(cap, data)
			other := g.NewClient("other")
			other.Servers.Wait(t.Context(), 10)
			other.MustGet(cap, data)
			if res, again := other.MustPut(data); again != cap || res.Existing != 10 || res.Pushed != 0 {
				t.Errorf("%d bytes: the second client stored it anew: %+v", size, res)
			}
			for _, st := range g.Client.Servers.Status() {
				if st.Protocol != grid.Foolscap || st.Address != "tcp" || st.GBS == "" {
					t.Errorf("status %+v", st)
				}
			}
		})
	}
}

// Servers that go, hang and lie are got over by Foolscap as by GBS.
func TestFaultsByFoolscap(t *testing.T) {
	Run(t, Config{Protocols: foolscapOnly, Patience: immutable.Patience{Ask: 10 * time.Second}}, func(t *testing.T, g *Grid) {
		data := Content(200_000)
		_, cap := g.Client.MustPut(data)
		g.Servers[0].Stop()
		g.Servers[1].Host.Fail(memnet.Hang)
		g.Servers[2].Faults.Always(faultstore.ReadAt, faultstore.Fault{Corrupt: faultstore.FlipBit(1000)})
		g.Servers[3].Faults.Always(faultstore.Shares, faultstore.Fault{Hang: true})
		within(t, "download", 2*time.Minute, func() { g.Client.MustGet(cap, data) })
		g.Servers[0].Start()
		g.Servers[1].Host.Fail(memnet.None)
		time.Sleep(10 * time.Minute)
		if n := g.Client.Servers.Wait(t.Context(), 10); n != 10 {
			t.Errorf("%d servers are connected again: %+v", n, g.Client.Servers.Status())
		}
	})
}

// A partition in mid-upload fails the upload or not, but what is said to be
// stored can be read, and half-written shares are gone: the canary is lost.
func TestPartitionByFoolscap(t *testing.T) {
	Run(t, Config{Servers: 5, K: 2, Happy: 5, N: 5, Protocols: foolscapOnly, Link: memnet.Link{Latency: 50 * time.Millisecond, Bandwidth: 1 << 20}}, func(t *testing.T, g *Grid) {
		data := Content(3_000_000)
		cut := time.AfterFunc(time.Second, func() {
			for _, s := range g.Servers[:2] {
				g.Net.Partition("client", s.Name)
			}
		})
		defer cut.Stop()
		if res, err := g.Client.Put(t.Context(), data, nil); err == nil {
			t.Errorf("three of five servers sufficed: %+v", res)
		}
		for _, s := range g.Servers[:2] {
			g.Net.Heal("client", s.Name)
		}
		time.Sleep(30 * time.Minute)
		_, cap := g.Client.MustPut(data)
		g.Client.MustGet(cap, data)
	})
}

// Over an onion, a small file takes few round trips: one to ask, one to move the
// bytes, and in an upload a third, since a share is closed once its writes have
// succeeded.
func TestRoundTripsByFoolscap(t *testing.T) {
	const rtt = time.Second
	Run(t, Config{Servers: 5, K: 3, Happy: 5, N: 5, Onion: true, Protocols: foolscapOnly, Link: memnet.Link{Latency: rtt / 2, Buffer: 4 << 20},
		Patience: immutable.Patience{Straggle: 4 * rtt, Hedge: 4 * rtt}}, func(t *testing.T, g *Grid) {
		data := Content(10_000)
		var cap caps.CHK
		within(t, "upload", 3*rtt, func() { _, cap = g.Client.MustPut(data) })
		within(t, "download", 2*rtt, func() { g.Client.MustGet(cap, data) })
		if st := g.Client.Servers.Status()[0]; st.Address != "onion" {
			t.Errorf("status %+v", st)
		}
	})
}

// With both protocols GBS is used; when its port is gone, Foolscap.
func TestBothProtocols(t *testing.T) {
	Run(t, Config{Servers: 3, K: 1, Happy: 3, N: 3, Protocols: []grid.Protocol{grid.GBS, grid.Foolscap}}, func(t *testing.T, g *Grid) {
		data := Content(50_000)
		_, cap := g.Client.MustPut(data)
		for _, st := range g.Client.Servers.Status() {
			if st.Protocol != grid.GBS {
				t.Errorf("status %+v", st)
			}
		}
		for _, s := range g.Servers {
			k := s.Known
			k.NURLs[0].Port++ // nobody listens there
			g.Client.Servers.Add(k)
			g.Announce(netx.Addr{Host: k.NURLs[0].Host, Port: k.NURLs[0].Port})
		}
		if n := g.Client.Servers.Wait(t.Context(), 3); n != 3 {
			t.Fatalf("%d servers connected", n)
		}
		g.Client.MustGet(cap, data)
		if got, err := g.Client.Get(t.Context(), cap, 100, 1000, nil); err != nil || !bytes.Equal(got, data[100:1100]) {
			t.Errorf("a range: %d bytes, %v", len(got), err)
		}
		for _, st := range g.Client.Servers.Status() {
			if st.Protocol != grid.Foolscap || st.GBS == "" {
				t.Errorf("status %+v", st)
			}
		}
	})
}
