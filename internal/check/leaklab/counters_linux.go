package leaklab

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// uplinkKinds are the counters at the sink. A packet is of one kind.
var uplinkKinds = []string{"marker", "kernel", "dns", "tcp", "udp", "other"}

// Counters are what was seen since the Lab was made.
type Counters struct {
	DNS, TCP, UDP, Other int64    // packets over the uplink, name queries by any transport apart
	LoDNS                int64    // name queries over loopback
	Kernel               int64    // IPv6 housekeeping of the kernel over the uplink; no leak
	Sockets              []string // TCP and UDP sockets bound or connected to anything but loopback
	Packets              []string // the first packets over the uplink, in words
}

// Leaked reports whether anything got out, or was made ready to.
func (c Counters) Leaked() bool {
	return c.DNS+c.TCP+c.UDP+c.Other+c.LoDNS > 0 || len(c.Sockets) > 0
}

// String is for people.
func (c Counters) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "uplink packets: %d tcp, %d udp, %d other, %d name queries; %d name queries over loopback; %d sockets not of loopback",
		c.TCP, c.UDP, c.Other, c.DNS, c.LoDNS, len(c.Sockets))
	for _, s := range slices.Concat(c.Sockets, c.Packets) {
		b.WriteString("\n\t" + s)
	}
	return b.String()
}

// Zero fails the test if anything leaked so far.
func (l *Lab) Zero() {
	l.t.Helper()
	if c := l.Counters(); c.Leaked() {
		l.t.Errorf("leak: %v", c)
	}
}

// Counters returns what was seen of all packets sent and sockets closed before
// the call.
func (l *Lab) Counters() Counters {
	l.t.Helper()
	c, err := l.counters()
	if err != nil {
		l.t.Fatalf("leak lab: %v", err)
	}
	return c
}

func (l *Lab) counters() (c Counters, err error) {
	// The living first: of one that ends meanwhile the kernel tells by the time
	// that everything has settled.
	living, err := l.sockets.living()
	if err != nil {
		return c, err
	}
	if err := l.settle(); err != nil {
		return c, err
	}
	up, err := l.sink.readCounters()
	if err != nil {
		return c, err
	}
	lo, err := l.sut.readCounters()
	if err != nil {
		return c, err
	}
	c = Counters{DNS: up["dns"], TCP: up["tcp"], UDP: up["udp"], Other: up["other"], Kernel: up["kernel"], LoDNS: lo["lodns"]}
	c.Packets = l.capture.list()
	c.Sockets, err = l.sockets.list(living)
	return c, err
}

func (n *netns) readCounters() (map[string]int64, error) {
	out, err := n.tool("", "nft", "-j", "list", "counters")
	if err != nil {
		return nil, err
	}
	var listed struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets int64
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &listed); err != nil {
		return nil, fmt.Errorf("reading counters: %w", err)
	}
	m := map[string]int64{}
	for _, l := range listed.Nftables {
		if l.Counter != nil {
			m[strings.TrimPrefix(l.Counter.Name, "n_")] = l.Counter.Packets // some bare names are words of nft
		}
	}
	if len(m) == 0 {
		return nil, errors.New("reading counters: there are none")
	}
	return m, nil
}

// patience bounds the wait for a thing that takes milliseconds.
const patience = 30 * time.Second

// settle returns once everything that was sent is counted: it sends a marker
// from each processor, since packets of one processor stay in order, and waits
// until all are counted; and it closes a socket and waits to be told so.
func (l *Lab) settle() error {
	before, err := l.sink.readCounters()
	if err != nil {
		return err
	}
	sent, err := l.sendMarkers()
	if err != nil {
		return fmt.Errorf("sending markers: %w", err)
	}
	for end := time.Now().Add(patience); ; {
		now, err := l.sink.readCounters()
		if err != nil {
			return err
		}
		if now["marker"] >= before["marker"]+sent {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("the counters do not count: %d markers sent, %d seen", sent, now["marker"]-before["marker"])
		}
	}
	return l.sockets.settle()
}

func (l *Lab) sendMarkers() (sent int64, err error) {
	f, err := l.sut.packetSocket("uplink")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	to, _ := net.ParseMAC(sinkMAC)
	from, _ := net.ParseMAC(sutMAC)
	frame := make([]byte, 60)
	copy(frame[copy(frame, to):], from)
	binary.BigEndian.PutUint16(frame[12:], markerType)

	err = l.sut.do(func() error {
		var all, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &all); err != nil {
			return err
		}
		defer unix.SchedSetaffinity(0, &all)
		for cpu := range 8 * len(all) * 8 {
			if !all.IsSet(cpu) {
				continue
			}
			one.Zero()
			one.Set(cpu)
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				return err
			}
			if _, err := f.Write(frame); err != nil {
				return err
			}
			sent++
		}
		return nil
	})
	return sent, err
}

// settle closes a socket and waits until the kernel says so.
func (w *socketWatch) settle() error {
	told := make(chan struct{})
	err := w.ns.do(func() error {
		c, err := net.Dial("udp", "127.0.0.1:1") // sends nothing
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.waiting[c.LocalAddr().(*net.UDPAddr).AddrPort().Port()] = told
		w.mu.Unlock()
		return c.Close()
	})
	if err != nil {
		return err
	}
	select {
	case <-told:
		return nil
	case <-time.After(patience):
		return errors.New("the kernel does not tell of closed sockets")
	}
}
