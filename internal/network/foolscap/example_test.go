package foolscap_test

import (
	"context"
	"fmt"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/network/memnet"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tubcert"
)

func newTub(net *memnet.Net, host string) *foolscap.Tub {
	pem, err := tubcert.Generate(time.Now())
	if err != nil {
		panic(err)
	}
	cert, err := tubcert.Parse(pem)
	if err != nil {
		panic(err)
	}
	hint, err := furl.ParseHint("tcp:" + host + ":3457")
	if err != nil {
		panic(err)
	}
	tub, err := foolscap.New(foolscap.Config{Cert: cert, Network: net.Host(host), Hints: []furl.Hint{hint}})
	if err != nil {
		panic(err)
	}
	return tub
}

// A server counts what its clients give it.
func Example() {
	ctx := context.Background()
	net := memnet.New(nil)
	defer net.Close()
	server, client := newTub(net, "server"), newTub(net, "client")
	defer server.Close(ctx)
	defer client.Close(ctx)
	l, err := net.Host("server").Listen(ctx, netx.Addr{Kind: netx.TCP, Host: "server", Port: 3457})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	go server.ServeListener(l)

	counter := &foolscap.Object{Iface: "RICounter.example.org", Methods: map[string]*foolscap.Method{
		"count": {
			Args: []foolscap.Arg{{Name: "things", Schema: banana.ListOf(banana.Bytes(10), 100)}},
			Do: func(_ context.Context, c *foolscap.Call) (any, error) {
				return len(c.List(0)), nil
			},
		},
	}}
	address := server.Register(foolscap.NewSwissnum(), counter)

	ref, err := client.Dial(ctx, address, foolscap.DialOptions{})
	if err != nil {
		panic(err)
	}
	defer ref.Release()
	n, err := ref.Call(ctx, "count", banana.Size(), banana.List{[]byte("one"), []byte("two")})
	fmt.Println(n, err)
	_, err = ref.Call(ctx, "count", banana.Size(), "two")
	fmt.Println(err)
	// Output:
	// 2 <nil>
	// foolscap.tokens.Violation: "argument things of count: text where a list belongs"
}
