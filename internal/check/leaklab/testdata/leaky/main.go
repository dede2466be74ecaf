// Command leaky leaks in the way its argument names, for the test of the leak
// lab. It lives in testdata since the product's rules forbid every line of it.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

// Places set aside for examples.
const (
	public4 = "203.0.113.7"
	public6 = "[2001:db8::7]"
	name    = "leak.example.org"
)

var ways = map[string]func() error{
	"nothing": func() error { return nil },
	"loopback": func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		return dial("tcp", l.Addr().String())
	},
	"tcp4": func() error { return dial("tcp", public4+":443") },
	"tcp6": func() error { return dial("tcp", public6+":443") },
	"udp": func() error {
		c, err := net.Dial("udp", public4+":9999")
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("here I am"))
		return err
	},
	"udp connect": func() error { // learns this machine's address without a packet
		c, err := net.Dial("udp", public4+":9")
		if err != nil {
			return err
		}
		return c.Close()
	},
	"lookup": func() error { _, err := net.LookupHost(name); return err },
	"onion lookup": func() error {
		_, err := net.LookupHost("vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion")
		return err
	},
	"http":   func() error { _, err := http.Get("http://" + name + "/"); return err },
	"listen": func() error { l, err := net.Listen("tcp", ":0"); defer l.Close(); return err },
	"listen udp": func() error {
		c, err := net.ListenPacket("udp", ":0")
		if err != nil {
			return err
		}
		return c.Close()
	},
	"local resolver": func() error { // a stub on loopback would ask the world
		c, err := net.Dial("udp", "127.0.0.53:53")
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("?"))
		return err
	},
}

func dial(network, address string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

func main() {
	way := ways[os.Args[1]]
	if way == nil {
		fmt.Fprintln(os.Stderr, "leaky: no such way:", os.Args[1])
		os.Exit(2)
	}
	if err := way(); err != nil {
		fmt.Fprintln(os.Stderr, "leaky:", err)
		os.Exit(1)
	}
}
