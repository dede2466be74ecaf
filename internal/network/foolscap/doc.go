// Package foolscap is the remote object protocol of Tahoe-LAFS: Tubs that know
// each other by their certificates, references to objects, and calls.
//
// A Tub is one identity. It connects to other Tubs (Tub.Dial, Tub.Keep) through
// a netx.Network, is handed the connections of others (Tub.Serve), and holds at
// most one Conn with each peer, whichever side made it. Over a Conn either side
// calls the other's objects: an Object here is a Ref there. This package knows
// no storage servers and no introducers, passes no references to third parties
// (gifts are refused), and opens no port. Subpackage banana is the
// serialization. The specifications are Foolscap's pb.rst and banana.rst as its
// program speaks them, and the recorded sessions in testdata.
//
// What a peer can make us spend is bounded: Limits, the schemas of Method.Args
// and of results, and a time for each part of a negotiation and for each
// message once begun.
//
// # An interface, both halves
//
// The server's half names its methods once, with a schema for each argument, so
// that what does not fit is refused before it takes memory:
//
//	var serverMethods = map[string]*foolscap.Method{
//		"allocate_buckets": {
//			Args: []foolscap.Arg{
//				{Name: "storage_index", Schema: banana.Fixed(16)},
//				{Name: "renew_secret", Schema: banana.Fixed(32)},
//				{Name: "cancel_secret", Schema: banana.Fixed(32)},
//				{Name: "sharenums", Schema: banana.SetOf(banana.Int(0, 255), 256)},
//				{Name: "allocated_size", Schema: banana.Size()},
//				{Name: "canary", Schema: banana.Reference()},
//			},
//			Do: func(ctx context.Context, c *foolscap.Call) (any, error) {
//				s := c.Self.(*server)
//				si, size, canary := storage.Index(c.Bytes(0)), c.Int(4), c.Ref(5)
//				…
//				w := &foolscap.Object{Iface: "RIBucketWriter", Methods: writerMethods, Self: writer}
//				stop := canary.OnLost(writer.abort) // the peer, and its canary, are gone
//				…
//				return banana.Tuple{have, banana.Dict{{Key: num, Value: w}}}, nil
//			},
//		},
//	}
//	tub.Register(swissnum, &foolscap.Object{Iface: "RIStorageServer.tahoe.allmydata.com", Methods: serverMethods, Self: s})
//
// The client's half gives the schema of the result:
//
//	ref, err := tub.Dial(ctx, furl, foolscap.DialOptions{Isolation: label})
//	v, err := ref.Call(ctx, "allocate_buckets",
//		banana.TupleOf(banana.SetOf(shnum, 256), banana.DictOf(shnum, banana.Reference(), 256)),
//		si[:], renew[:], cancel[:], banana.Set{int64(0), int64(7)}, size, canary)
//	t := v.(banana.Tuple)
//	for _, p := range t[1].(banana.Dict) {
//		writer := p.Value.(*foolscap.Ref)
//		_, err := writer.Call(ctx, "write", banana.None(), int64(0), block)
//		…
//		writer.Release()
//	}
//	n, err := reader.Call(ctx, "read", banana.Into(p), off, len(p)) // no copy is kept
package foolscap
