package webapi

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// patience is how long an upload waits for all the servers it could use, once
// enough are connected.
const patience = 10 * time.Second

// waitToStore keeps an upload right after the node's start from failing, or
// crowding on few servers, for want of servers that are about to answer; and
// one during an outage from failing before the servers were tried again.
func (h *Handler) waitToStore(ctx context.Context, op *operation) {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if h.c.Grid.WaitToStore(short, h.c.N) >= h.c.Happy || h.c.Grid.WaitToStore(ctx, h.c.Happy) >= h.c.Happy {
		return
	}
	h.outwait(ctx, op, h.c.Happy, true)
}

// waitToRead waits, after a try with some servers found too few shares, for
// others to come. It reports whether any has.
func (h *Handler) waitToRead(ctx context.Context, op *operation, k, had int) bool {
	if h.c.Grid.Wait(ctx, math.MaxInt) > had {
		return true
	}
	return had < k && h.outwait(ctx, op, had+1, false) > had
}

// outwait has the servers that were tried in vain tried again, and waits until
// want are connected or the time for an outage is over. It returns how many
// are. Where so many are not even known, it does not wait. To store, only those
// count that may be given new shares.
func (h *Handler) outwait(ctx context.Context, op *operation, want int, toStore bool) int {
	ctx, cancel := context.WithTimeout(ctx, h.c.Outage)
	defer cancel()
	h.c.Grid.Retry()
	for {
		changed := h.c.Grid.Watch()
		servers := h.servers()
		if toStore {
			servers = slices.DeleteFunc(servers, serverView.barred)
		}
		n := connected(servers)
		if n >= want || len(servers) < want {
			return n
		}
		op.tell(fmt.Sprintf("waiting for servers: %d of %d connected, the others are tried again", n, len(servers)))
		select {
		case <-changed:
		case <-ctx.Done():
			return n
		}
	}
}
