package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/check/procgrid"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
)

// machine is what the bare machine does: MB/s (10^6 bytes).
type machine struct {
	sha, aes   float64 // one core
	tls1, tls4 float64 // over loopback by 1 and 4 connections, both ends here
	tlsCPU     float64 // per processor second of both ends together
	file       float64 // writing new files, into the page cache, one core
}

// String is for people.
func (m machine) String() string {
	return fmt.Sprintf("bare machine, MB/s: SHA-256 %s, AES-128-CTR %s, TLS 1.3 over loopback %s (4 connections %s, %s per processor second of both ends), writing to files %s",
		number(m.sha), number(m.aes), number(m.tls1), number(m.tls4), number(m.tlsCPU), number(m.file))
}

// chunk is what the measurements below work in.
const chunk = 256 << 10

func measureMachine(ctx context.Context) (m machine, err error) {
	buf := make([]byte, chunk)
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return m, err
	}
	stream := cipher.NewCTR(block, make([]byte, 16))
	m.sha = best(func() { sha256.Sum256(buf) })
	m.aes = best(func() { stream.XORKeyStream(buf, buf) })
	if m.file, err = measureFile(buf); err != nil {
		return m, err
	}
	for range 6 { // the best, as above
		one, _, err := measureTLS(ctx, 1)
		if err != nil {
			return m, err
		}
		four, perCPU, err := measureTLS(ctx, 4)
		if err != nil {
			return m, err
		}
		m.tls1, m.tls4, m.tlsCPU = max(m.tls1, one), max(m.tls4, four), max(m.tlsCPU, perCPU)
	}
	// With neighbours on the machine the clock shows too little.
	m.tls4 = max(m.tls4, m.tlsCPU*float64(runtime.NumCPU()))
	return m, nil
}

// best is the best of several short runs: neighbours only slow it down.
func best(f func()) float64 {
	least := time.Hour
	for range 40 {
		start := time.Now()
		for range 4 {
			f()
		}
		least = min(least, time.Since(start))
	}
	return 4 * chunk / 1e6 / least.Seconds()
}

// measureFile is the best of several new files, which stay in the page cache.
func measureFile(buf []byte) (best float64, err error) {
	const size = 32 << 20
	for range 8 {
		f, err := os.CreateTemp("", "tahoe-bench-")
		if err != nil {
			return 0, err
		}
		start := time.Now()
		for range size / len(buf) {
			if _, err := f.Write(buf); err != nil {
				return 0, err
			}
		}
		best = max(best, size/1e6/time.Since(start).Seconds())
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			return 0, err
		}
	}
	return best, nil
}

// measureTLS sends through so many connections at once for a while.
func measureTLS(ctx context.Context, conns int) (wall, perCPU float64, err error) {
	pem, err := tubcert.Generate(time.Now())
	if err != nil {
		return 0, 0, err
	}
	cert, err := tubcert.Parse(pem)
	if err != nil {
		return 0, 0, err
	}
	l, err := netx.Loopback{}.Listen(ctx, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	go sinkTLS(tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert.TLS()}, DynamicRecordSizingDisabled: true}))
	at, err := netx.AddrOf(l)
	if err != nil {
		return 0, 0, err
	}
	const each = 512 << 20
	var wg sync.WaitGroup
	errs := make([]error, conns)
	start, cpu := time.Now(), ownCPU()
	for i := range conns {
		wg.Go(func() { errs[i] = sendTLS(ctx, at, cert, each/int64(conns)) })
	}
	wg.Wait()
	took, used := time.Since(start), ownCPU()-cpu
	return each / 1e6 / took.Seconds(), each / 1e6 / used.Seconds(), errors.Join(errs...)
}

// sinkTLS reads each connection to its end and answers with one byte.
func sinkTLS(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, chunk))
			c.Write([]byte{1})
		}()
	}
}

func sendTLS(ctx context.Context, at netx.Addr, cert tubcert.Cert, size int64) error {
	raw, err := netx.Loopback{}.Dial(ctx, at)
	if err != nil {
		return err
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{
		ServerName: "127.0.0.1", InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if tubcert.SPKI(cs.PeerCertificates[0]) != cert.SPKI() {
				return errors.New("another key")
			}
			return nil
		},
	})
	buf := make([]byte, chunk)
	for ; size > 0; size -= chunk {
		if _, err := c.Write(buf); err != nil {
			return err
		}
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	_, err = io.ReadFull(c, buf[:1]) // all of it was read
	return err
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	d, _ := procgrid.CPUOf(os.Getpid())
	return d
}

// processor is the model's name.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

// busy is the processor time that the whole machine has used, stolen time
// included.
func busy() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var ticks int64
	for i, f := range strings.Fields(line) {
		if v, err := strconv.ParseInt(f, 10, 64); err == nil && i != 4 && i != 5 && i < 9 { // not idle, nor waiting for a disk
			ticks += v
		}
	}
	return time.Duration(ticks) * (time.Second / 100)
}
