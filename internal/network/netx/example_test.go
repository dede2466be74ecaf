package netx_test

import (
	"context"
	"fmt"

	"tahoe-go/internal/network/netx"
)

// A node that hides its address and has no Tor can do nothing, and says why.
func ExampleNew() {
	n, err := netx.New(netx.Policy{TCP: netx.Disabled, HideAddress: true}, netx.Routes{})
	if err != nil {
		panic(err)
	}
	_, err = n.Dial(context.Background(), netx.Addr{Kind: netx.TCP, Host: "example.com", Port: 443})
	fmt.Println(err)
	_, err = netx.New(netx.Policy{TCP: netx.Direct, HideAddress: true}, netx.Routes{})
	fmt.Println(err != nil)
	// Output:
	// refused by network policy: tcp:example.com:443: tcp connections are disabled on this node ([connections] tcp = disabled)
	// true
}
