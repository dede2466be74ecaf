package gridtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

// within fails the test unless f takes at most limit of virtual time.
func within(t *testing.T, what string, limit time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > limit {
		t.Errorf("%s took %v of virtual time, want at most %v", what, took, limit)
	}
}

// spread fails the test unless shares of cap are on so many servers.
func spread(t *testing.T, g *Grid, cap caps.CHK, want int) {
	t.Helper()
	servers := map[int]bool{}
	for _, on := range g.Held(cap.Index()) {
		for _, i := range on {
			servers[i] = true
		}
	}
	if len(servers) != want {
		t.Errorf("shares are on %d servers, want %d", len(servers), want)
	}
}

func TestAllWell(t *testing.T) {
	for _, size := range []int{56, 4096, 100_001, 3_000_000} {
		Run(t, Config{SegmentSize: 128 << 10}, func(t *testing.T, g *Grid) {
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
		})
	}
}

// Shares are files, an advisory is written, and no secret is on any disk.
func TestOnDisk(t *testing.T) {
	Run(t, Config{Servers: 5, K: 2, Happy: 5, N: 5, Disk: true}, func(t *testing.T, g *Grid) {
		data := Content(300_000)
		_, cap := g.Client.MustPut(data)
		spread(t, g, cap, 5)
		for i := range 3 {
			g.Servers[i].Faults.Always(faultstore.ReadAt, faultstore.Fault{Corrupt: faultstore.FlipBit(1000)})
		}
		g.Client.MustGet(cap, data)
		for _, s := range g.Servers { // and what was left is served by the next process
			s.Stop()
			s.Start()
		}
		time.Sleep(time.Minute)
		g.Client.MustGet(cap, data)
	})
}

// Over a link like a circuit of Tor, what counts are round trips: one to ask
// and one to move the bytes, or for a download one in all if the shares are
// where they would be put, on connections that are there already and that no
// operation breaks off. No share is read that is not needed.
func TestRoundTrips(t *testing.T) {
	const rtt = time.Second
	for _, size := range []int{10_000, 1<<20 - 10} {
		Run(t, Config{Servers: 5, K: 3, Happy: 5, N: 5, Onion: true, Link: memnet.Link{Latency: rtt / 2, Buffer: 4 << 20},
			Patience: immutable.Patience{Straggle: 4 * rtt, Hedge: 4 * rtt}}, func(t *testing.T, g *Grid) {
			dials := len(g.Net.Dials())
			for i := range 5 {
				data := Content(size + i)
				var cap caps.CHK
				within(t, "upload", 2*rtt, func() { _, cap = g.Client.MustPut(data) })
				within(t, "download", rtt, func() { g.Client.MustGet(cap, data) })
			}
			if more := len(g.Net.Dials()) - dials; more != 0 {
				t.Errorf("files of %d bytes: %d connections had to be made anew", size, more)
			}
			used := 0
			for _, s := range g.Servers {
				used += s.Faults.Calls(faultstore.ReadAt)
			}
			if size < 100_000 && used != 5*3 { // larger answers take a server several reads
				t.Errorf("files of %d bytes: %d reads of shares, want one of each of three shares, five times", size, used)
			}
		})
	}
}

// A machine that hangs costs seconds, not the minute that a dead connection
// takes to be noticed.
func TestHungMachine(t *testing.T) {
	Run(t, Config{}, func(t *testing.T, g *Grid) {
		g.Servers[4].Host.Fail(memnet.Hang)
		data := Content(50_000)
		var cap caps.CHK
		within(t, "upload", 10*time.Second, func() { _, cap = g.Client.MustPut(data) })
		spread(t, g, cap, 9)
		within(t, "download", 3*time.Second, func() { g.Client.MustGet(cap, data) })
		g.Servers[4].Host.Fail(memnet.None)
	})
}

// A program that accepts connections and never answers is the same.
func TestHungProgram(t *testing.T) {
	Run(t, Config{Onion: true}, func(t *testing.T, g *Grid) {
		for _, m := range []faultstore.Method{faultstore.Version, faultstore.Allocate, faultstore.Shares} {
			g.Servers[2].Faults.Always(m, faultstore.Fault{Hang: true})
		}
		data := Content(50_000)
		var cap caps.CHK
		within(t, "upload", 10*time.Second, func() { _, cap = g.Client.MustPut(data) })
		spread(t, g, cap, 9)
		within(t, "download", 3*time.Second, func() { g.Client.MustGet(cap, data) })
	})
}

// Three servers stop in the middle of their shares; the rest is enough.
func TestStallInMidUpload(t *testing.T) {
	Run(t, Config{SegmentSize: 128 << 10, Patience: immutable.Patience{Stall: 30 * time.Second}}, func(t *testing.T, g *Grid) {
		for _, i := range []int{1, 5, 8} {
			g.Servers[i].Faults.Next(faultstore.WriteAt, faultstore.Fault{}, faultstore.Fault{Hang: true})
			g.Servers[i].Faults.Always(faultstore.WriteAt, faultstore.Fault{Hang: true})
		}
		data := Content(8_000_000)
		var cap caps.CHK
		within(t, "upload", 2*time.Minute, func() {
			var res *immutable.Result
			if res, cap = g.Client.MustPut(data); res.Happy != 7 {
				t.Errorf("happy %d, want 7", res.Happy)
			}
		})
		spread(t, g, cap, 7)
		g.Client.MustGet(cap, data)
	})
}

// Four are one too many: the error names each and what it said, and nobody
// keeps half a share for long.
func TestUnhappy(t *testing.T) {
	Run(t, Config{SegmentSize: 128 << 10, Patience: immutable.Patience{Stall: 30 * time.Second}}, func(t *testing.T, g *Grid) {
		g.Servers[0].Faults.Always(faultstore.Allocate, faultstore.Fault{Refuse: true})
		g.Servers[1].Host.Fail(memnet.Hang)
		g.Servers[2].Faults.Always(faultstore.Allocate, faultstore.Fault{Err: storage.ErrNoSpace})
		g.Servers[3].Stop()
		_, err := g.Client.Put(t.Context(), Content(100_000), nil)
		e, ok := errors.AsType[*immutable.UnhappyError](err)
		if !ok || e.Happy != 6 || e.Want != 7 {
			t.Fatalf("error %v; want 6 of 7 servers of happiness", err)
		}
		for i := range 3 {
			if !strings.Contains(err.Error(), g.Servers[i].Name+": ") {
				t.Errorf("the error does not say what %s said: %v", g.Servers[i].Name, err)
			}
		}
		g.Servers[1].Host.Fail(memnet.None)
		g.Servers[3].Start()
		for _, s := range g.Servers[4:] {
			if s.Faults.Calls(faultstore.Abort) == 0 {
				t.Errorf("%s was not told to forget its share", s.Name)
			}
		}
	})
}

// Full servers are passed over while the others have room.
func TestFull(t *testing.T) {
	Run(t, Config{Servers: 12, Capacity: func(i int) int64 { return []int64{0, 1000, 0}[i%3] }}, func(t *testing.T, g *Grid) {
		data := Content(50_000)
		res, cap := g.Client.MustPut(data)
		if res.Happy != 8 {
			t.Errorf("happy %d, want the 8 servers with room", res.Happy)
		}
		if held := g.Held(cap.Index()); len(held) != 10 {
			t.Errorf("shares held: %v, want all ten", held)
		}
		g.Client.MustGet(cap, data)
	})
}

// A thin link gets its share all the same, and holds no download up.
func TestSlowLink(t *testing.T) {
	Run(t, Config{Servers: 5, K: 3, Happy: 4, N: 5, Link: memnet.Link{Latency: 20 * time.Millisecond, Bandwidth: 10 << 20}}, func(t *testing.T, g *Grid) {
		g.Net.SetLink("client", g.Servers[3].Name, memnet.Link{Latency: 200 * time.Millisecond, Bandwidth: 20 << 10}) // 33 s for its share
		data := Content(2_000_000)
		var cap caps.CHK
		within(t, "upload", time.Minute, func() { _, cap = g.Client.MustPut(data) })
		spread(t, g, cap, 5)
		within(t, "download", 15*time.Second, func() { g.Client.MustGet(cap, data) })
	})
}

// Liars cost a retry and are reported; they never get a wrong byte through.
func TestLiars(t *testing.T) {
	Run(t, Config{SegmentSize: 16 << 10}, func(t *testing.T, g *Grid) {
		data := Content(200_000)
		_, cap := g.Client.MustPut(data)
		for i, s := range g.Servers[:7] {
			s.Faults.Always(faultstore.ReadAt, faultstore.Fault{Corrupt: lie(int64(i))})
		}
		g.Client.MustGet(cap, data)
		g.Servers[7].Faults.Always(faultstore.ReadAt, faultstore.Fault{Corrupt: lie(7)})
		got, err := g.Client.Get(t.Context(), cap, 0, cap.Size, nil)
		if _, ok := errors.AsType[*immutable.NotEnoughSharesError](err); !ok || !bytes.HasPrefix(data, got) {
			t.Errorf("with eight liars: %d bytes, good %v, %v", len(got), bytes.HasPrefix(data, got), err)
		}
		synctest.Wait()
		reports := 0
		for _, s := range g.Servers {
			reports += len(s.Store.(*memstore.Store).Reports())
		}
		if reports == 0 {
			t.Error("no server was told of a damaged share")
		}
	})
}

// lie changes bytes of every part of a share: header, blocks, trees.
func lie(from int64) func(storage.ShareNum, []byte, int64) {
	return func(_ storage.ShareNum, p []byte, off int64) {
		for i := range p {
			if (off+int64(i))%1009 == from {
				p[i] ^= 0x40
			}
		}
	}
}

// boaster says it holds every share there is.
type boaster struct{ storage.Server }

func (b boaster) Shares(context.Context, storage.Index) (map[storage.ShareNum]storage.ShareReader, error) {
	all := map[storage.ShareNum]storage.ShareReader{}
	for num := range 256 {
		all[storage.ShareNum(num)] = nothing{}
	}
	return all, nil
}

type nothing struct{}

func (nothing) ReadAt(context.Context, []byte, int64) (int, error) { return 0, storage.ErrNotFound }
func (nothing) ReportCorrupt(context.Context, string) error        { return storage.ErrNotFound }

// Servers that promise shares they do not have delay nobody for long.
func TestBoasters(t *testing.T) {
	boast := func(i int, s storage.Server) storage.Server {
		if i < 7 {
			return boaster{s}
		}
		return s
	}
	Run(t, Config{Wrap: boast}, func(t *testing.T, g *Grid) {
		data := Content(100_000)
		_, cap := g.Client.MustPut(data)
		within(t, "download", 20*time.Second, func() { g.Client.MustGet(cap, data) })
	})
}

// Connections are cut, again and again, while both directions are busy.
func TestCuts(t *testing.T) {
	Run(t, Config{SegmentSize: 64 << 10, Link: memnet.Link{Latency: 10 * time.Millisecond, Bandwidth: 1 << 20}}, func(t *testing.T, g *Grid) {
		data := Content(3_000_000)
		_, cap := g.Client.MustPut(data)
		stop := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					g.Net.Cut("client", g.Servers[i%3].Name)
				}
			}
		}()
		g.Client.MustGet(cap, data)
		close(stop)
	})
}

// A client that loses every server in the middle of a read goes on when they
// are back, and not before.
func TestPartition(t *testing.T) {
	Run(t, Config{SegmentSize: 64 << 10, Link: memnet.Link{Bandwidth: 1 << 20}, Patience: immutable.Patience{Stall: 15 * time.Second, Outage: 10 * time.Minute}}, func(t *testing.T, g *Grid) {
		data := Content(4_000_000)
		_, cap := g.Client.MustPut(data)
		each := func(do func(a, b string)) {
			for _, s := range g.Servers {
				do("client", s.Name)
			}
		}
		time.AfterFunc(300*time.Millisecond, func() { each(g.Net.Partition) })
		time.AfterFunc(3*time.Minute, func() { each(g.Net.Heal) })
		within(t, "a read across a partition of three minutes", 5*time.Minute, func() { g.Client.MustGet(cap, data) })
	})
}

// When a server has gone the shares are not where they would be put now: a
// download takes one trip more, if it relied on that.
func TestWrongGuess(t *testing.T) {
	const rtt = time.Second
	Run(t, Config{Servers: 5, K: 2, Happy: 5, N: 5, Onion: true, Link: memnet.Link{Latency: rtt / 2, Buffer: 4 << 20},
		Patience: immutable.Patience{Straggle: 4 * rtt, Hedge: 4 * rtt}}, func(t *testing.T, g *Grid) {
		var data [3][]byte
		var cap [3]caps.CHK
		for i := range data {
			data[i] = Content(10_000 + i)
			_, cap[i] = g.Client.MustPut(data[i])
		}
		first := g.Client.Servers.ForRead(cap[0].Index())[0].ID
		for _, s := range g.Servers {
			if s.Known.ID == first {
				s.Stop()
			}
		}
		time.Sleep(5 * time.Minute)                                                          // until that is noticed
		within(t, "the first download", 5*rtt, func() { g.Client.MustGet(cap[0], data[0]) }) // two for the connections
		within(t, "the second download", 3*rtt, func() { g.Client.MustGet(cap[1], data[1]) })
		within(t, "the third download", 3*rtt, func() { g.Client.MustGet(cap[2], data[2]) })
	})
}

// Servers that were lost before the first byte was read come back one after
// another: the first of them are not taken for all.
func TestSlowReturn(t *testing.T) {
	Run(t, Config{SegmentSize: 64 << 10, Link: memnet.Link{Latency: 100 * time.Millisecond}, Patience: immutable.Patience{Stall: 15 * time.Second, Outage: 10 * time.Minute}}, func(t *testing.T, g *Grid) {
		data := Content(400_000)
		_, cap := g.Client.MustPut(data)
		time.AfterFunc(50*time.Millisecond, func() {
			for _, s := range g.Servers {
				g.Net.Partition("client", s.Name)
			}
		})
		for i, s := range g.Servers {
			time.AfterFunc(3*time.Minute+time.Duration(i/2)*30*time.Second, func() { g.Net.Heal("client", s.Name) })
		}
		within(t, "a read across a partition that ends bit by bit", 7*time.Minute, func() { g.Client.MustGet(cap, data) })
	})
}

// The same of a client in the middle of an upload: it goes on where it stopped
// after a short outage, begins again after a long one, and after servers that
// restarted.
func TestPartitionInPut(t *testing.T) {
	for _, tt := range []struct {
		name string
		away time.Duration
	}{{"short", 10 * time.Second}, {"long", 3 * time.Minute}, {"servers restart", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			Run(t, Config{SegmentSize: 64 << 10, Link: memnet.Link{Bandwidth: 1 << 20}, Patience: immutable.Patience{Stall: 30 * time.Second, Outage: 10 * time.Minute}}, func(t *testing.T, g *Grid) {
				each := func(do func(*Server)) {
					for _, s := range g.Servers {
						do(s)
					}
				}
				time.AfterFunc(300*time.Millisecond, func() {
					if tt.away == 0 {
						each((*Server).Stop)
						each((*Server).Start)
						return
					}
					each(func(s *Server) { g.Net.Partition("client", s.Name) })
					time.AfterFunc(tt.away, func() { each(func(s *Server) { g.Net.Heal("client", s.Name) }) })
				})
				data := Content(12_000_000)
				within(t, "a put across an outage", tt.away+3*time.Minute, func() {
					_, cap := g.Client.MustPut(data)
					g.Client.MustGet(cap, data)
				})
			})
		})
	}
}

// Servers that restart are found again without anybody asking for it.
func TestRestart(t *testing.T) {
	Run(t, Config{}, func(t *testing.T, g *Grid) {
		data := Content(100_000)
		_, cap := g.Client.MustPut(data)
		for _, s := range g.Servers {
			s.Stop()
		}
		_, err := g.Client.Get(t.Context(), cap, 0, cap.Size, nil)
		if err == nil {
			t.Error("read a file from servers that are stopped")
		}
		for _, s := range g.Servers {
			s.Start()
		}
		within(t, "finding the servers again", 2*time.Minute, func() { g.Client.Servers.Wait(t.Context(), 10); waitConnected(t, g, 10) })
		g.Client.MustGet(cap, data)
	})
}

// waitConnected waits until so many servers count as connected.
func waitConnected(t *testing.T, g *Grid, want int) {
	t.Helper()
	for range 600 {
		n := 0
		for _, st := range g.Client.Servers.Status() {
			if st.State == grid.Connected {
				n++
			}
		}
		if n >= want {
			return
		}
		time.Sleep(time.Second)
	}
	t.Errorf("not %d servers connected after ten minutes: %+v", want, g.Client.Servers.Status())
}

// A machine in the middle with another key gets no request, and its name
// comes up as the reason.
func TestWrongKey(t *testing.T) {
	Run(t, Config{Servers: 4, K: 2, Happy: 3, N: 4}, func(t *testing.T, g *Grid) {
		impostor := g.Servers[1]
		impostor.Stop()
		impostor.cert = certificates(6)[5]
		impostor.Start()
		allocated := impostor.Faults.Calls(faultstore.Allocate)
		data := Content(10_000)
		_, cap := g.Client.MustPut(data)
		spread(t, g, cap, 3)
		if n := impostor.Faults.Calls(faultstore.Allocate) - allocated; n != 0 {
			t.Errorf("the impostor was asked %d times for room", n)
		}
		time.Sleep(time.Minute) // for the grid to look into it
		for _, st := range g.Client.Servers.Status() {
			if st.Name == impostor.Name && (st.State == grid.Connected || !strings.Contains(st.Reason, "key")) {
				t.Errorf("status of the impostor: %+v", st)
			}
		}
	})
}

// A caller who gives up is obeyed at once, and the servers keep nothing.
func TestGivenUp(t *testing.T) {
	Run(t, Config{SegmentSize: 64 << 10, Link: memnet.Link{Bandwidth: 100 << 10}}, func(t *testing.T, g *Grid) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		within(t, "giving up", 15*time.Second, func() {
			if _, err := g.Client.Put(ctx, Content(5_000_000), nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want a deadline exceeded", err)
			}
		})
		time.Sleep(time.Minute)
		for _, s := range g.Servers {
			if s.Faults.Calls(faultstore.Abort) == 0 {
				t.Errorf("%s was not told to forget its share", s.Name)
			}
		}
	})
}

// Whatever servers do at random: an upload that says it succeeded can be read
// once the faults are over, and a read gives the right bytes or an error.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			Run(t, Config{SegmentSize: 16 << 10, Patience: immutable.Patience{Stall: 20 * time.Second}}, func(t *testing.T, g *Grid) {
				r := rand.New(rand.NewPCG(seed, 1))
				data := Content(150_000 + int(seed))
				wreck(r, g, 3)
				_, err := g.Client.Put(t.Context(), data, nil)
				mend(g)
				time.Sleep(10 * time.Minute) // for the grid to connect again
				if err != nil {
					if _, ok := errors.AsType[*immutable.UnhappyError](err); !ok {
						t.Errorf("upload: %v", err)
					}
					return
				}
				_, cap := g.Client.MustPut(data)
				g.Client.MustGet(cap, data)
				wreck(r, g, 7)
				got, err := g.Client.Get(t.Context(), cap, 0, cap.Size, nil)
				if !bytes.HasPrefix(data, got) || err == nil && len(got) != len(data) {
					t.Errorf("download: %d bytes that are not the file's, %v", len(got), err)
				}
				mend(g)
			})
		})
	}
}

// wreck gives up to most servers random faults.
func wreck(r *rand.Rand, g *Grid, most int) {
	for range most {
		s := g.Servers[r.IntN(len(g.Servers))]
		fault := faultstore.Fault{Delay: time.Duration(r.IntN(40)) * time.Second}
		switch r.IntN(6) {
		case 0:
			fault.Hang = true
		case 1:
			fault.Err = errors.New("a fault")
		case 2:
			at := r.Int64N(60_000)
			fault.Corrupt = faultstore.FlipBit(at)
		case 3:
			g.Net.SetLink("client", s.Name, memnet.Link{Latency: time.Second, Bandwidth: 20 << 10})
		case 4:
			g.Net.Cut("client", s.Name)
		case 5:
			s.Faults.Vanish()
		}
		s.Faults.Always([]faultstore.Method{faultstore.Allocate, faultstore.WriteAt, faultstore.Close, faultstore.Shares, faultstore.ReadAt}[r.IntN(5)], fault)
	}
}

// mend ends what wreck did.
func mend(g *Grid) {
	for _, s := range g.Servers {
		for m := faultstore.Version; m <= faultstore.ReportCorrupt; m++ {
			s.Faults.Always(m, faultstore.Fault{})
		}
		s.Faults.Return()
		g.Net.SetLink("client", s.Name, memnet.Link{})
	}
}
