// Package leaklab runs programs where every packet that leaves them is seen.
//
// A Lab is a network namespace with a loopback device and one uplink. Default
// routes for IPv4 and IPv6 lead over the uplink into a second namespace, the
// sink, where nftables counts each packet as it comes in, a raw socket keeps
// what it was, and somebody answers TCP and DNS, so that a leak completes and
// cannot hide behind a timeout. The name server that /etc/resolv.conf names is
// the sink; name queries over loopback, to a resolver that might pass them on,
// are counted too. The kernel's own chatter is switched off. The Lab also
// lists every TCP and UDP socket of the namespace that was bound or connected
// to anything but loopback, which is how a UDP connect that sends nothing, or
// a listener open to the world, is caught.
//
// Tor runs outside. A unix socket with a path is reached from inside as from
// anywhere; for a tor with TCP ports, Lab.ForwardIn and Lab.ForwardOut carry
// single loopback ports across.
//
// Before it reads its counters a Lab sends frames of its own over the uplink
// and waits until they are counted, so a zero is never that of a counter that
// is broken or late.
//
// What it cannot see: what a resolver daemon does for a program that asks it
// over a unix socket (a static Go binary asks none), and who sent a packet.
// It needs Linux and CAP_NET_ADMIN, ip, nft and nsenter; without them New
// skips the test, and fails it when CI=true. Start with New, Lab.Command and
// Lab.Zero. testdata/leaky is a program that leaks in every way we know, for
// the test that shows the Lab to catch each.
package leaklab
