package tortest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"tahoe-go/internal/network/netx"
)

// Authorities vote every interval, voteTime before it ends. From its length tor
// derives that of the time periods and of the shared random values by which
// onion descriptors are named and placed: 24 intervals, but the former cut to
// whole minutes. Where that cuts anything the two drift apart, and there are
// times in which no client finds an onion that has been up for a while. It has
// to be the same from the first consensus on, too, and to divide a day.
const (
	interval = 10 * time.Second
	voteTime = 4 * time.Second
)

// bootTime is how long authorities and relays have until the first vote: by
// then all must be up and the relays have sent their descriptors.
const bootTime = 4 * time.Second

// votingOffset returns how far behind the multiples of an interval authorities
// that start now shall vote, in whole seconds.
func votingOffset(now time.Time) int {
	first := now.Add(bootTime + voteTime)
	return int(first.Sub(first.Truncate(interval)) / time.Second) // Truncate counts from a midnight, as tor does
}

// Patience with the authorities and relays of a network.
const (
	askPause  = 100 * time.Millisecond
	nudgeTime = 2 * time.Second
	doneText  = "Bootstrapped 100%"
)

// settle waits until all authorities publish a consensus in which every relay
// counts, and until every relay has it.
func (n *Network) settle(ctx context.Context) error {
	n.mu.Lock()
	nodes := append([]*Node(nil), n.nodes...)
	n.mu.Unlock()
	for _, nd := range nodes {
		if nd.role != authority {
			continue
		}
		have := 0
		if err := nd.poll(ctx, func() (ok bool) {
			have, ok = nd.counted(ctx, n.cfg.Relays)
			return ok
		}); err != nil {
			return fmt.Errorf("waiting for the authorities to agree (%s counts %d of %d relays): %w", nd.Name, have, n.cfg.Relays, err)
		}
	}
	n.say("waiting for the relays to follow")
	for _, nd := range nodes {
		if nd.role != relay {
			continue
		}
		var nudged time.Time
		if err := nd.poll(ctx, func() bool {
			if strings.Contains(nd.Log(), doneText) {
				return true
			}
			if time.Since(nudged) > nudgeTime {
				// A tor that asked too early was told 404 and asks again at
				// its leisure, a minute later at worst; SIGHUP makes it ask
				// now. A relay that has no consensus is none.
				nudged = time.Now()
				nd.signal(syscall.SIGHUP)
			}
			return false
		}); err != nil {
			return fmt.Errorf("waiting for the relays (%s): %w", nd.Name, err)
		}
	}
	return nil
}

// poll asks until the answer is yes, ctx ends or the process dies.
func (nd *Node) poll(ctx context.Context, ask func() bool) error {
	nd.mu.Lock()
	done := nd.done
	nd.mu.Unlock()
	for !ask() {
		select {
		case <-done:
			return fmt.Errorf("%s has exited: %s", nd.Name, nd.Log())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askPause):
		}
	}
	return nil
}

// counted asks an authority how many relays its consensus lists with
// the bandwidth we gave them, and whether that is all.
func (nd *Node) counted(ctx context.Context, all int) (have int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := netx.Loopback{}.Dial(ctx, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: nd.dirPort})
	if err != nil {
		return 0, false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := io.WriteString(c, "GET /tor/status-vote/current/consensus HTTP/1.0\r\n\r\n"); err != nil {
		return 0, false
	}
	answer, err := io.ReadAll(io.LimitReader(c, 1<<20))
	for line := range strings.Lines(string(answer)) {
		if strings.TrimSpace(line) == fmt.Sprintf("w Bandwidth=%d", bandwidth) {
			have++
		}
	}
	return have, err == nil && have == all
}
