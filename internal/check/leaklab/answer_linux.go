package leaklab

import (
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// tcpPort is where the sink takes connections to every port.
const tcpPort = 7

// answer starts what talks back to a leak: TCP connections are taken and read
// from, names resolve to addresses set aside for examples.
func (l *Lab) answer() error {
	ln, err := l.sink.listen("tcp", ":7")
	if err != nil {
		return err
	}
	l.onClose(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(2 * time.Second))
				c.Read(make([]byte, 4096)) // so that the capture has its first words
				io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nleaked\n")
			}()
		}
	}()
	var names net.PacketConn
	err = l.sink.do(func() error {
		var lc net.ListenConfig
		names, err = lc.ListenPacket(context.Background(), "udp", ":53")
		return err
	})
	if err != nil {
		return err
	}
	l.onClose(func() { names.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := names.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply, err := resolve(buf[:n]); err == nil {
				names.WriteTo(reply, from)
			}
		}
	}()
	return nil
}

// resolve answers any question for an address.
func resolve(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeSuccess, nil
	for _, q := range m.Questions {
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch q.Type {
		case dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 7}}})
		case dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 7}}})
		}
	}
	return m.Pack()
}
