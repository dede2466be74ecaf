package chk

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/codec/zfec"
)

// MB are 10^6 bytes of plaintext. Beside the MB/s of wall time each row has
// MB/cpu-s, which neighbours on the machine disturb less, and limit-MB/s: what
// the SHA-256 and AES of this machine allow when nothing else costs anything.
const benchSize = 48 << 20

var benchParams = []Params{
	{3, 10, 1 << 20}, {3, 10, 128 << 10},
	{1, 1, 1 << 20}, {1, 1, 128 << 10},
	{10, 30, 1 << 20}, {10, 30, 128 << 10},
	{71, 255, 1 << 20}, {71, 255, 128 << 10},
}

func eachRow(b *testing.B, run func(b *testing.B, p Params, cores int)) {
	for _, p := range benchParams {
		for _, cores := range []int{1, 2} {
			name := fmt.Sprintf("%d-of-%d/%dKiB/cores=%d", p.K, p.N, p.SegmentSize>>10, cores)
			b.Run(name, func(b *testing.B) {
				if cores > runtime.NumCPU() {
					b.Skip("not that many cores")
				}
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				run(b, p, cores)
			})
		}
	}
}

// measure runs body b.N times over benchSize bytes and reports the row.
// serial and parallel are how often each byte is hashed on one core and on
// all of them.
func measure(b *testing.B, cores int, serial, parallel float64, body func()) {
	sha, aes := machine()
	b.SetBytes(benchSize)
	cpu := cpuTime()
	for b.Loop() {
		body()
	}
	if used := cpuTime() - cpu; used > 0 {
		b.ReportMetric(float64(b.N)*benchSize/1e6/used.Seconds(), "MB/cpu-s")
	}
	b.ReportMetric(1/(serial/sha+(parallel/sha+1/aes)/float64(cores)), "limit-MB/s")
}

// machine is the best of several short runs of the bare kernels on one core,
// in MB/s.
var machine = sync.OnceValues(func() (sha, aes float64) {
	buf := make([]byte, 256<<10)
	cipher, _ := NewCipher(testKey)
	best := func(f func()) float64 {
		least := time.Hour
		for range 40 {
			start := time.Now()
			for range 4 {
				f()
			}
			least = min(least, time.Since(start))
		}
		return float64(4*len(buf)) / 1e6 / least.Seconds()
	}
	return best(func() { sha256.Sum256(buf) }), best(func() { cipher.XOR(buf, buf, 0) })
})

func BenchmarkEncodeConvergent(b *testing.B) {
	plaintext := pat(benchSize, 1)
	eachRow(b, func(b *testing.B, p Params, cores int) {
		measure(b, cores, 1, 2+float64(p.N)/float64(p.K), func() {
			key, err := ConvergentKey(b.Context(), bytes.NewReader(plaintext), benchSize, p, nil)
			if err != nil {
				b.Fatal(err)
			}
			benchEncode(b, Config{Key: key, Params: p}, plaintext)
		})
	})
}

func BenchmarkEncodeRandomKey(b *testing.B) {
	plaintext := pat(benchSize, 1)
	eachRow(b, func(b *testing.B, p Params, cores int) {
		measure(b, cores, 0, 2+float64(p.N)/float64(p.K), func() {
			benchEncode(b, Config{Key: testKey, Params: p}, plaintext)
		})
	})
}

// benchEncode leaves the shares where the encoder put them.
func benchEncode(b *testing.B, c Config, plaintext []byte) {
	c.Size = int64(len(plaintext))
	e, err := NewEncoder(c)
	if err != nil {
		b.Fatal(err)
	}
	for seg, err := range e.Segments(b.Context(), bytes.NewReader(plaintext)) {
		if err != nil {
			b.Fatal(err)
		}
		seg.Release()
	}
	t, err := e.Trailer()
	if err != nil {
		b.Fatal(err)
	}
	for i := range c.Params.N {
		if _, err := io.Copy(io.Discard, t.Share(ids.ShareNum(i))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	plaintext := pat(benchSize, 1)
	eachRow(b, func(b *testing.B, p Params, cores int) {
		m := encodeAll(b, Config{Key: testKey, Params: p}, plaintext)
		for _, kind := range []string{"primary", "parity"} {
			b.Run(kind, func(b *testing.B) {
				first := 0
				if kind == "parity" {
					first = p.N - p.K
				}
				measure(b, cores, 0, 2, func() { benchDecode(b, m, first, cores) })
			})
		}
	})
}

// benchDecode decodes m from k shares, first the lowest, as many segments at
// a time as there are cores.
func benchDecode(b *testing.B, m made, first, cores int) {
	f, err := NewFile(m.cap.Verifier())
	if err != nil {
		b.Fatal(err)
	}
	cipher, err := NewCipher(m.cap.Key)
	if err != nil {
		b.Fatal(err)
	}
	shares := make([]*Share, m.layout.K)
	for i := range shares {
		num := first + i
		shares[i], err = f.OpenShare(b.Context(), &memShare{data: m.shares[num]}, ids.ShareNum(num), -1)
		if err != nil {
			b.Fatal(err)
		}
	}
	var workers sync.WaitGroup
	for worker := range cores {
		workers.Go(func() {
			bufs := make([][]byte, len(shares))
			var text []byte
			for seg := int64(worker); seg < m.layout.Segments; seg += int64(cores) {
				blocks := make(map[ids.ShareNum][]byte)
				for i, s := range shares {
					block, err := s.Block(b.Context(), seg, bufs[i])
					if err != nil {
						b.Error(err)
						return
					}
					bufs[i], blocks[s.Num()] = block, block
				}
				var err error
				if text, err = f.Decode(seg, blocks, text); err != nil {
					b.Error(err)
					return
				}
				cipher.XOR(text, text, seg*m.layout.SegmentSize)
			}
		})
	}
	workers.Wait()
}

// The kernels alone, one core.
func BenchmarkKernel(b *testing.B) {
	buf := make([]byte, 1<<20)
	cipher, err := NewCipher(testKey)
	if err != nil {
		b.Fatal(err)
	}
	code, err := zfec.New(3, 10)
	if err != nil {
		b.Fatal(err)
	}
	var primary, parity [][]byte
	for i := range 10 {
		block := make([]byte, stripe)
		if i < 3 {
			primary = append(primary, block)
		} else {
			parity = append(parity, block)
		}
	}
	for _, row := range []struct {
		name string
		size int
		run  func()
	}{
		{"hash", len(buf), func() { tagged.Block(buf) }},
		{"cipher", len(buf), func() { cipher.XOR(buf, buf, 0) }},
		{"code/3-of-10", 3 * stripe, func() {
			if err := code.Encode(primary, parity); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.SetBytes(int64(row.size))
			for b.Loop() {
				row.run()
			}
		})
	}
}
