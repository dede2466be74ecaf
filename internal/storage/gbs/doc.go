// Package gbs speaks the storage protocol over HTTPS that is called Great
// Black Swamp: Handler serves a storage.Server, Client is one.
//
// It keeps no share itself and knows no cap. Uploads in progress live in the
// Handler's memory and are given up when their client stays away; a share is
// the store's business from the moment its last byte arrived.
//
// Specification: docs/formats/gbs.md, and the reference's
// docs/specifications/http-storage-node-protocol.rst.
//
// Start with NewHandler and Serve on one side, NewClient on the other. The
// words on the wire are in message.go and slotmessage.go (CBOR), header.go and
// ranges.go; the status codes, in both directions, in status.go.
package gbs
