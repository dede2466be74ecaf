package immutable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tahoe-go/internal/grid/happiness"
	"tahoe-go/internal/storage"
)

// writer is a share with a home that waits for its bytes.
type writer struct {
	num  storage.ShareNum
	peer storage.Peer
	to   storage.ShareWriter
}

// placement is what servers hold and have promised to take.
type placement struct {
	*sending
	peers    []storage.Peer // permuted
	holdings map[string][]storage.ShareNum
	readonly map[string]bool // answered, but takes nothing (more)
	failed   map[string]error
	writers  []writer
	existing int // shares that were there before

	// damaged are shares that cannot be replaced where they lie, and do not
	// count. nil, other than empty: this is no repair.
	damaged map[string][]storage.ShareNum
}

func (u *sending) newPlacement(peers []storage.Peer) *placement {
	return &placement{sending: u, peers: peers, holdings: map[string][]storage.ShareNum{}, readonly: map[string]bool{}, failed: map[string]error{}}
}

// maxRounds bounds the questions to servers that keep refusing. Each round
// but the last makes a server read-only or drops it, so real grids need two.
const maxRounds = 12

// place finds a home for every share. The first round asks for room at once,
// as if no share existed anywhere: a server that is asked for room also says
// what it holds, and servers beyond the first N are asked only for that. So an
// ordinary upload spends one round trip here. Refusals are planned again.
func (u *sending) place(ctx context.Context) (*placement, error) {
	n := u.n
	peers := u.c.Servers.ForUpload(u.si)
	if len(peers) == 0 {
		return nil, ErrNoServers
	}
	peers = peers[:min(len(peers), 2*n)]
	p := u.newPlacement(peers)
	guess := happiness.Plan(happiness.Input{Writable: serverIDs(peers[:min(len(peers), n)]), N: n})
	p.ask(ctx, byServer(guess), true)
	if err := p.settle(ctx, maxRounds); err != nil {
		return nil, err
	}
	p.prune(ctx)
	if h := p.happiness(); h < u.happy {
		p.abort(ctx)
		return nil, p.unhappy(h)
	}
	return p, nil
}

// settle asks until every share has a home or there is nobody left to ask.
// The error is ctx's.
func (p *placement) settle(ctx context.Context, rounds int) error {
	for range rounds {
		if ctx.Err() != nil {
			break
		}
		want := p.missing()
		if len(want) == 0 {
			break
		}
		p.ask(ctx, want, false)
	}
	if err := ctx.Err(); err != nil {
		p.abort(ctx)
		return fmt.Errorf("placing shares: %w", context.Cause(ctx))
	}
	return nil
}

func serverIDs(peers []storage.Peer) []string {
	out := make([]string, len(peers))
	for i, p := range peers {
		out[i] = p.ID
	}
	return out
}

func byServer(plan map[storage.ShareNum]string) map[string][]storage.ShareNum {
	out := map[string][]storage.ShareNum{}
	for num, id := range plan {
		out[id] = append(out[id], num)
	}
	return out
}

// missing plans with what is known now and returns the shares that have no
// home yet, by the server to ask.
func (p *placement) missing() map[string][]storage.ShareNum {
	in := happiness.Input{Existing: p.holdings, N: p.n}
	for _, peer := range p.peers {
		switch {
		case p.failed[peer.ID] != nil:
		case p.readonly[peer.ID]:
			in.ReadOnly = append(in.ReadOnly, peer.ID)
		default:
			in.Writable = append(in.Writable, peer.ID)
		}
	}
	if p.damaged != nil {
		return byServer(happiness.Fill(in, p.damaged))
	}
	plan := happiness.Plan(in)
	for num, id := range plan {
		if slices.Contains(p.holdings[id], num) {
			delete(plan, num)
		}
	}
	return byServer(plan)
}

// reply is one server's answer to a question.
type reply struct {
	peer  storage.Peer
	asked []storage.ShareNum
	have  []storage.ShareNum
	alloc *storage.Allocation // nil when only shares were asked for
	err   error
}

// ask sends all questions at once and takes in the answers. With survey, the
// servers that are asked for no room are asked what they hold.
func (p *placement) ask(ctx context.Context, want map[string][]storage.ShareNum, survey bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	replies := make(chan reply, len(p.peers))
	asked := 0
	start := time.Now()
	for _, peer := range p.peers {
		nums := want[peer.ID]
		if len(nums) == 0 && !survey {
			continue
		}
		asked++
		slices.Sort(nums)
		go func() { replies <- p.askOne(ctx, peer, nums) }()
	}
	limit := time.NewTimer(p.c.Patience.Ask)
	defer limit.Stop()
	for got := 1; got <= asked; {
		select {
		case r := <-replies:
			p.take(r, time.Since(start))
			got++
			if got > asked/2+1 { // the rest should not be much slower
				limit.Reset(max(p.c.Patience.Straggle, 3*time.Since(start)))
			}
		case <-limit.C:
			cancel(errSlow) // the stragglers now answer with an error
			limit.Reset(time.Hour)
		}
	}
}

func (p *placement) askOne(ctx context.Context, peer storage.Peer, nums []storage.ShareNum) reply {
	r := reply{peer: peer, asked: nums}
	start := time.Now()
	if len(nums) > 0 {
		r.alloc, r.err = peer.Server.Allocate(ctx, p.si, nums, p.enc.ShareSize(), p.leaseSecrets(p.si, peer))
		if r.err == nil {
			r.have = r.alloc.Have
		}
	} else {
		var found map[storage.ShareNum]storage.ShareReader
		found, r.err = peer.Server.Shares(ctx, p.si)
		r.have = slices.Sorted(maps.Keys(found))
	}
	if r.err == nil {
		p.trips.note(peer.ID, time.Since(start))
	}
	if r.err != nil && context.Cause(ctx) == errSlow {
		r.err = errSlow
	}
	return r
}

// take notes an answer.
func (p *placement) take(r reply, took time.Duration) {
	id := r.peer.ID
	p.trace.asked(id, r.have, r.err, took)
	if r.err != nil {
		p.failed[id] = r.err
		return
	}
	for _, num := range r.have {
		if int(num) < p.n && !slices.Contains(p.damaged[id], num) && !slices.Contains(p.holdings[id], num) {
			p.holdings[id] = append(p.holdings[id], num)
			p.trace.placed(id, num, true)
			p.existing++
		}
	}
	if r.alloc == nil {
		return
	}
	for _, num := range r.asked {
		switch w := r.alloc.Writers[num]; {
		case w != nil:
			p.holdings[id] = append(p.holdings[id], num)
			p.writers = append(p.writers, writer{num, r.peer, w})
			p.trace.placed(id, num, false)
		case !slices.Contains(p.holdings[id], num):
			p.readonly[id] = true // full, read-only, or busy with this share
		}
	}
}

// prune gives up room for shares that exist elsewhere, where happiness does
// not need them: after a blind first round a second copy is of no use.
func (p *placement) prune(ctx context.Context) {
	if p.existing == 0 {
		return
	}
	happy := p.happiness()
	var keep []writer
	for _, w := range p.writers {
		id := w.peer.ID
		held := p.holdings[id]
		p.holdings[id] = slices.DeleteFunc(slices.Clone(held), func(n storage.ShareNum) bool { return n == w.num })
		if p.somewhere(w.num) && p.happiness() == happy {
			p.abortOne(ctx, w)
			continue
		}
		p.holdings[id] = held
		keep = append(keep, w)
	}
	p.writers = keep
}

func (p *placement) somewhere(num storage.ShareNum) bool {
	for _, nums := range p.holdings {
		if slices.Contains(nums, num) {
			return true
		}
	}
	return false
}

func (p *placement) happiness() int { return happiness.Happiness(p.holdings) }

// drop forgets a share that will not reach its server.
func (p *placement) drop(w writer, why error) {
	p.holdings[w.peer.ID] = slices.DeleteFunc(p.holdings[w.peer.ID], func(n storage.ShareNum) bool { return n == w.num })
	p.failed[w.peer.ID] = why
	p.trace.dropped(w.peer.ID, w.num, why)
}

// abort tells every server to forget what was begun, and waits for that.
func (p *placement) abort(ctx context.Context) {
	for _, w := range p.writers {
		p.abortOne(ctx, w)
	}
	p.aborts.wg.Wait()
}

var errRefused = errors.New("took no (more) shares: full, read-only, or busy with the same file")

// reports says of every server asked what became of it.
func (p *placement) reports() []ServerReport {
	out := make([]ServerReport, 0, len(p.peers))
	for _, peer := range p.peers {
		r := ServerReport{ID: peer.ID, Name: peer.Name, Shares: slices.Sorted(slices.Values(p.holdings[peer.ID])), Err: p.failed[peer.ID]}
		if r.Err == nil && p.readonly[peer.ID] {
			r.Err = errRefused
		}
		out = append(out, r)
	}
	return out
}

func (p *placement) unhappy(happy int) error {
	return &UnhappyError{Happy: happy, Want: p.happy, K: p.k, N: p.n, Servers: p.reports()}
}
