package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"tahoe-go/internal/face/webclient"
)

// showIntroducers lists the introducers that the node asks for servers.
func (a *app) showIntroducers(list []webclient.Introducer, verbose bool) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(a.Stdout, "\nIntroducers")
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, in := range list {
		row := []string{"  " + in.Petname, in.State, in.Address, named(in), heard(in.LastContact)}
		if in.Reason != "" {
			row = append(row, in.Reason)
		}
		if p := in.Published; p != nil {
			switch {
			case p.Error != "":
				row = append(row, "does not take the announcement of this server: "+p.Error)
			case p.Sent == nil:
				row = append(row, "this server is not announced yet")
			default:
				row = append(row, "this server is announced")
			}
		}
		if in.DroppedTotal > 0 {
			row = append(row, fmt.Sprintf("%d announcements dropped", in.DroppedTotal))
		}
		if verbose {
			row = append(row, in.TubID)
			if in.Version != nil {
				row = append(row, *in.Version)
			}
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	t.Flush()
}

func named(in webclient.Introducer) string {
	s := fmt.Sprintf("%d servers", in.Servers)
	if in.Servers == 1 {
		s = "1 server"
	}
	if in.Cached > 0 {
		s += fmt.Sprintf(" (%d from the cache)", in.Cached)
	}
	return s
}

func heard(at *float64) string {
	if at == nil {
		return "not heard yet"
	}
	return "heard " + humanize.Time(unix(*at))
}

// showWhy says where servers are known from, and why Foolscap is in use.
func (a *app) showWhy(servers []webclient.Server) {
	for _, s := range servers {
		if len(s.Sources) == 0 {
			continue
		}
		name := s.Name
		if name == "" {
			name = s.ID
		}
		fmt.Fprintf(a.Stdout, "  %s is known from\n", name)
		for _, src := range s.Sources {
			number := ""
			if src.Seqnum != nil {
				number = fmt.Sprintf(", announcement %d", *src.Seqnum)
			}
			fmt.Fprintf(a.Stdout, "    %s%s: %s\n", src.Name, number, src.Why)
		}
		if s.WhyNoNewShares != "" {
			fmt.Fprintf(a.Stdout, "    and is given no new shares: %s\n", s.WhyNoNewShares)
		}
		if s.WhyFoolscap != "" {
			fmt.Fprintf(a.Stdout, "    and reached by Foolscap, not the HTTP protocol: %s\n", s.WhyFoolscap)
		}
	}
}

// showIntroducerNode says what an introducer node knows.
func (a *app) showIntroducerNode(w webclient.Welcome, verbose bool) {
	name := w.Nickname
	if name == "" {
		name = "(no nickname)"
	}
	fmt.Fprintf(a.Stdout, "%s, %s: an introducer\n", name, w.Version)
	for _, r := range w.Ladder {
		if r.State != "unknown" || verbose {
			fmt.Fprintf(a.Stdout, "  %-8s %s\n", r.State, r.Text)
		}
	}
	fmt.Fprintf(a.Stdout, "  announced: %s\n  subscribed: %s\n", counted(w.Announced), counted(w.Subscribed))
	if len(w.Services) == 0 {
		return
	}
	fmt.Fprintln(a.Stdout, "\nAnnounced")
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range w.Services {
		name, state := s.Nickname, "connected"
		if name == "" {
			name = s.Key[:min(len(s.Key), 13)] + "…"
		}
		if !s.Connected {
			state = "away, " + heard(s.LastSeen)
		}
		row := []string{"  " + name, s.Service, state}
		if verbose {
			row = append(row, s.Key, s.Version, strings.Join(s.Hints, " "))
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	t.Flush()
}

// counted writes a number for each service.
func counted(m map[string]int) string {
	if len(m) == 0 {
		return "nothing"
	}
	var parts []string
	for _, service := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d", service, m[service]))
	}
	return strings.Join(parts, ", ")
}
