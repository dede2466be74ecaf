// Package introducer is how nodes of a grid hear of each other: a Server that
// remembers signed announcements and passes them on, and a Client that
// publishes one and listens to those of others, over Foolscap.
//
// It trusts signatures and sequence numbers, never the introducer: an
// announcement counts if its key signed it, and replaces one of the same key
// only if it is newer. It opens no port (package foolscap's Tub does), shows
// no page (Status is for one), connects to no storage server and judges no
// grid manager's certificates (package grid does). The protocol is version 2
// of the reference's, as in its docs/specifications and the recorded sessions
// in testdata.
//
// Unlike the reference, a Server's memory survives a restart and forgets an
// announcement when its publisher has long been away, and a Client uses what
// it has cached at once instead of when no introducer answers.
//
// Start with NewServer and NewClient.
package introducer
