package leaklab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// capture keeps in words what came over the uplink, for people; the counters
// decide.
type capture struct {
	file *os.File
	done chan struct{}

	mu      sync.Mutex // guards below
	packets []string
}

// maxPackets is how many are kept.
const maxPackets = 50

var anyProtocol = binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)) // in network order

// packetSocket opens a raw socket on a device of the namespace.
func (n *netns) packetSocket(device string) (f *os.File, err error) {
	err = n.do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(anyProtocol))
		if err != nil {
			return fmt.Errorf("opening a raw socket: %w", err)
		}
		f = os.NewFile(uintptr(fd), device)
		dev, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: anyProtocol, Ifindex: dev.Index})
	})
	return f, err
}

func (l *Lab) watch() error {
	f, err := l.sink.packetSocket("sink")
	if err != nil {
		return err
	}
	l.capture = &capture{file: f, done: make(chan struct{})}
	go l.capture.run()
	l.onClose(func() { f.Close(); <-l.capture.done })
	if l.sockets, err = watchSockets(l.sut); err != nil {
		return err
	}
	l.onClose(l.sockets.close)
	return nil
}

func (c *capture) run() {
	defer close(c.done)
	frame := make([]byte, 65536)
	from, _ := net.ParseMAC(sutMAC)
	for {
		n, err := c.file.Read(frame)
		if err != nil {
			return
		}
		if n < 14 || !bytes.Equal(frame[6:12], from) { // an answer of ours
			continue
		}
		if what := describe(frame[:n]); what != "" {
			c.mu.Lock()
			if len(c.packets) < maxPackets {
				c.packets = append(c.packets, what)
			}
			c.mu.Unlock()
		}
	}
}

func (c *capture) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.packets...)
}

// describe puts an Ethernet frame in words; "" for our markers.
func describe(frame []byte) string {
	kind, p := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	switch {
	case kind == markerType:
		return ""
	case kind == unix.ETH_P_IP && len(p) >= 20 && len(p) >= int(p[0]&15)*4:
		return describeIP(netip.AddrFrom4([4]byte(p[16:20])), p[9], p[int(p[0]&15)*4:])
	case kind == unix.ETH_P_IPV6 && len(p) >= 40:
		return describeIP(netip.AddrFrom16([16]byte(p[24:40])), p[6], p[40:])
	}
	return fmt.Sprintf("EtherType %#04x, %d bytes", kind, len(frame))
}

func describeIP(to netip.Addr, protocol byte, p []byte) string {
	if (protocol != unix.IPPROTO_TCP && protocol != unix.IPPROTO_UDP) || len(p) < 8 {
		return fmt.Sprintf("IP protocol %d to %v", protocol, to)
	}
	dst := netip.AddrPortFrom(to, binary.BigEndian.Uint16(p[2:]))
	if protocol == unix.IPPROTO_UDP {
		return fmt.Sprintf("UDP to %v%s", dst, words(p[8:]))
	}
	if len(p) < 20 || len(p) < int(p[12]>>4)*4 {
		return fmt.Sprintf("TCP to %v, cut short", dst)
	}
	var flags []string
	for bit, name := range map[byte]string{2: "SYN", 1: "FIN", 4: "RST"} {
		if p[13]&bit != 0 {
			flags = append(flags, name)
		}
	}
	return fmt.Sprintf("TCP to %v %s%s", dst, strings.Join(flags, "+"), words(p[int(p[12]>>4)*4:]))
}

// words shows a payload: a name query as its name, else its first bytes.
func words(p []byte) string {
	var m dnsmessage.Message
	if m.Unpack(p) == nil && len(m.Questions) > 0 {
		return fmt.Sprintf(" asks for %v %v", m.Questions[0].Name, m.Questions[0].Type)
	}
	if len(p) == 0 {
		return ""
	}
	return fmt.Sprintf(" %q", p[:min(len(p), 48)])
}
