package leaklab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The two ends of the uplink.
const (
	sutAddr4, sinkAddr4 = "10.201.0.2", "10.201.0.1"
	sutAddr6, sinkAddr6 = "fd99::2", "fd99::1"
	sutMAC, sinkMAC     = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
)

// quiet keeps the kernel from sending anything of its own: no duplicate
// address detection, no router solicitation, no generated addresses.
func (l *Lab) quiet() error {
	for _, n := range []*netns{l.sut, l.sink} {
		err := n.do(func() error {
			for key, value := range map[string]string{
				"all/accept_ra": "0", "default/accept_ra": "0",
				"all/router_solicitations": "0", "default/router_solicitations": "0",
				"all/accept_dad": "0", "default/accept_dad": "0",
				"default/addr_gen_mode": "1",
			} {
				if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", key), []byte(value), 0o644); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// cable joins the namespaces. Neighbours are written down, so nobody asks.
func (l *Lab) cable() error {
	for _, end := range []struct {
		ns                       *netns
		dev, mac, peerMAC        string
		own4, own6, peer4, peer6 string
		before, after            string
	}{
		{l.sut, "uplink", sutMAC, sinkMAC, sutAddr4, sutAddr6, sinkAddr4, sinkAddr6,
			"link add uplink type veth peer name sink netns " + l.sink.path(),
			"route add 0.0.0.0/0 via " + sinkAddr4 + "\nroute add ::/0 via " + sinkAddr6},
		{l.sink, "sink", sinkMAC, sutMAC, sinkAddr4, sinkAddr6, sutAddr4, sutAddr6, "", ""},
	} {
		batch := strings.NewReplacer("DEV", end.dev, "PEERMAC", end.peerMAC, "MAC", end.mac,
			"OWN4", end.own4, "OWN6", end.own6, "PEER4", end.peer4, "PEER6", end.peer6).Replace(`
link set DEV address MAC
link set lo up
link set DEV up
addr add OWN4/24 dev DEV
addr add OWN6/64 dev DEV nodad
neigh add PEER4 lladdr PEERMAC nud permanent dev DEV
neigh add PEER6 lladdr PEERMAC nud permanent dev DEV
`)
		if _, err := end.ns.tool(end.before+batch+end.after+"\n", "ip", "-batch", "-"); err != nil {
			return err
		}
	}
	return nil
}

// markerType is the EtherType of our own frames, one set aside for
// experiments.
const markerType = 0x88b5

// count installs the counters. The chain at ingress sees a packet before
// anything can drop it.
func (l *Lab) count() error {
	kinds := ""
	for _, k := range uplinkKinds {
		kinds += "counter n_" + k + " { }\n"
	}
	_, err := l.sink.tool(fmt.Sprintf(`
table netdev uplink {
	%s
	chain in {
		type filter hook ingress device "sink" priority 0; policy accept;
		ether type 0x%x counter name n_marker accept
		icmpv6 type { mld2-listener-report, mld-listener-report, nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } counter name n_kernel accept
		udp dport { 53, 853, 5353, 5355 } counter name n_dns accept
		tcp dport { 53, 853 } counter name n_dns accept
		meta l4proto tcp counter name n_tcp accept
		meta l4proto udp counter name n_udp accept
		counter name n_other
	}
}
# Whatever was the destination, we are it. One listener takes all TCP.
table inet answer {
	chain pre {
		type nat hook prerouting priority -100;
		iifname "sink" meta l4proto tcp redirect to :%d
		iifname "sink" redirect
	}
}
`, kinds, markerType, tcpPort), "nft", "-f", "-")
	if err != nil {
		return err
	}
	_, err = l.sut.tool(`
table inet loopback {
	counter n_lodns { }
	chain out {
		type filter hook output priority 0; policy accept;
		oifname "lo" udp dport { 53, 853, 5353, 5355 } counter name n_lodns
		oifname "lo" tcp dport { 53, 853 } counter name n_lodns
	}
}
`, "nft", "-f", "-")
	return err
}
