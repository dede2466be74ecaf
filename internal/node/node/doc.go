// Package node builds a node from its configuration and runs it: the network,
// Tor, then a storage server and the client part with its web gateway, or an
// introducer.
//
// It translates config's structs into what each part wants, starts the parts
// from the ground up and stops them the other way round. It decides nothing
// else: what a setting means is config's business, how a thing works that of
// its package. It reads no environment and prints only to what it is given.
//
// Start with Run, which is `tahoe run`, and Start, which it and tests use.
package node
