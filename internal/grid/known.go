package grid

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/netx"
)

// Known is what one source says of a server.
type Known struct {
	ID        string      // "v0-" and base32 of the announcement key; unique
	Name      string      // nickname, not to be trusted
	Version   string      // of its program, not to be trusted
	Seed      []byte      // permutation seed
	LeaseSeed [20]byte    // tub id
	NURLs     []furl.NURL // of the HTTP protocol
	FURL      furl.FURL   // of Foolscap; zero: it is not reached that way
	Via       Via         // what is to carry connections to it
	Seqnum    int64       // of the announcement; 0: none
	// Certs are grid managers' words about it, unchecked.
	Certs []announce.Certificate

	// Source is where we know it from, for people: "servers.yaml" or an
	// introducer's petname. Each source has a say of its own.
	Source string
	// Static is of a source that no announcement takes the place of, also not
	// of an introducer that is called the same.
	Static bool
	// Left says what of an announcement was left out, and why.
	Left []error

	heard     time.Time
	certified time.Time // until when Config.Managers vouch for it
}

// FromAnnouncement is what an announcement, or an entry of servers.yaml in
// that form, says.
func FromAnnouncement(a announce.Server, source string) Known {
	k := Known{
		ID: a.ID, Name: a.Nickname, Version: a.Version, Seed: a.Seed, LeaseSeed: LeaseSeed(a.FURL), NURLs: a.AllNURLs(), FURL: a.FURL,
		Seqnum: a.Seqnum, Certs: a.GridManagerCerts, Source: source, Left: a.Dropped,
	}
	return k
}

// LeaseSeed is the tub id of a server as lease secrets are derived from it.
func LeaseSeed(f furl.FURL) (seed [20]byte) {
	b, err := base32.Decode(strings.ToLower(f.TubID))
	if err == nil {
		copy(seed[:], b)
	}
	return seed
}

// origin tells sources apart.
type origin struct {
	name   string
	static bool
}

func (k Known) origin() origin { return origin{k.Source, k.Static} }

// String names it for people.
func (o origin) String() string {
	if o.static {
		return o.name
	}
	return "the introducer " + o.name
}

// Source is one place where servers are heard of. It is a Sink for an
// introducer.Client.
type Source struct {
	g    *Grid
	name string
}

// Source returns the source of that name.
func (g *Grid) Source(name string) *Source { return &Source{g, name} }

// Announced makes a server known, or replaces what this source said of it.
func (s *Source) Announced(a announce.Server) { s.g.Add(FromAnnouncement(a, s.name)) }

// choose returns what counts of what the sources say: what is static, else the
// announcement with the greatest sequence number.
func choose(from map[origin]Known) Known {
	all := slices.Collect(maps.Values(from))
	return slices.MaxFunc(all, func(a, b Known) int {
		return cmp.Or(cmpBool(a.Static, b.Static), cmp.Compare(a.Seqnum, b.Seqnum), cmp.Compare(b.Source, a.Source))
	})
}

func cmpBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// sameAs reports whether a connection made for k is good for o.
func (k Known) sameAs(o Known) bool {
	return k.ID == o.ID && bytes.Equal(k.Seed, o.Seed) && k.LeaseSeed == o.LeaseSeed && k.Via == o.Via &&
		slices.Equal(k.NURLs, o.NURLs) && k.FURL.Reveal() == o.FURL.Reveal()
}

// SourceStatus is what a source says of a server and what became of it.
type SourceStatus struct {
	Name   string
	Static bool
	Seqnum int64 // 0: none
	Heard  time.Time
	Used   bool
	Why    string // it is used or not; a sentence without capital and full stop
}

// sources describes what was said of a server.
func sources(from map[origin]Known, used Known) []SourceStatus {
	var out []SourceStatus
	for _, k := range from {
		st := SourceStatus{Name: k.Source, Static: k.Static, Seqnum: k.Seqnum, Heard: k.heard, Used: k.origin() == used.origin()}
		switch {
		case st.Used && k.Static:
			st.Why = "used, as the owner of this node has entered it by hand"
		case st.Used && len(from) > 1:
			st.Why = "used, as no other source has a later announcement"
		case st.Used:
			st.Why = "used"
		case used.Static:
			st.Why = "not used: " + used.origin().String() + " has an entry for this server, which always counts"
		case k.Seqnum < used.Seqnum:
			st.Why = fmt.Sprintf("not used: %s has a later announcement, %d after %d", used.origin(), used.Seqnum, k.Seqnum)
		default:
			st.Why = "not used: it is no later than what " + used.origin().String() + " says"
		}
		if len(k.Left) > 0 {
			st.Why += "; a part was left out: " + errors.Join(k.Left...).Error()
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b SourceStatus) int { return cmp.Or(cmpBool(b.Used, a.Used), cmp.Compare(a.Name, b.Name)) })
	return out
}

// Via says what carries connections to one server, where that is not what
// carries all others: the connections: of an entry in servers.yaml. The zero
// value changes nothing.
type Via struct {
	TCP netx.Carrier // for addresses of the clear network
	Tor netx.Carrier // for those of Tor: only netx.Disabled makes a difference
}

// ParseVia reads the connections: of a servers.yaml entry, which maps kinds of
// address to what carries them.
func ParseVia(handlers map[string]string) (Via, error) {
	var v Via
	for kind, handler := range handlers {
		carrier := netx.Carrier(strings.ToLower(handler))
		switch kind {
		case "tcp":
			if carrier != netx.Direct && carrier != netx.ViaTor && carrier != netx.Disabled {
				return Via{}, fmt.Errorf("connections: tcp: must be tcp, tor or disabled, not %q", clip(handler))
			}
			v.TCP = carrier
		case "tor":
			if carrier != netx.ViaTor && carrier != netx.Disabled {
				return Via{}, fmt.Errorf("connections: tor: must be tor or disabled, not %q", clip(handler))
			}
			v.Tor = carrier
		default: // of networks that this program does not use anyway
		}
	}
	return v, nil
}

func clip(s string) string { return s[:min(len(s), 40)] }
