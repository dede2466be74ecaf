// Package foolscapstore is storage over Foolscap, as Tahoe-LAFS has spoken it
// since before it knew HTTP: a Handler serves any storage.Server to peers, and
// a Client is a storage.Server at the other end of a connection.
//
// It makes no connections and opens no port: a foolscap.Tub does. It knows no
// caps and no announcements. The specification is the reference's remote
// interfaces RIStorageServer, RIBucketWriter and RIBucketReader, and recorded
// sessions of it. Start with NewHandler and NewClient:
//
//	h := foolscapstore.NewHandler(foolscapstore.HandlerConfig{Server: store, NodeID: cert.TubIDBytes()})
//	furl := tub.Register(swissnum, h.Object()) // anonymous-storage-FURL
//	c := foolscapstore.NewClient(foolscapstore.Config{Tub: tub, FURL: furl})
//
// Where the reference refuses nothing, this package has limits: share numbers
// below 256, at most 16 MiB in one write, 32 MiB in one read, 30 MiB in an
// answer about slots and 64 MiB in a call that changes one.
package foolscapstore
