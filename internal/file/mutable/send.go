package mutable

import (
	"bytes"
	"context"
	"slices"
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// send writes shares to a server, with one call.
func (p *publication) send(peer storage.Peer, nums []storage.ShareNum) {
	if len(nums) == 0 {
		return
	}
	writes := map[storage.ShareNum]storage.SlotWrite{}
	for _, num := range nums {
		if p.homes[num] == nil {
			p.homes[num] = map[string]bool{}
		}
		p.homes[num][peer.ID] = false
		test := storage.SlotTest{Len: 1}
		if k := p.m.known[peer.ID]; len(k.shares[num].check) > 0 {
			check := k.shares[num].check
			test = storage.SlotTest{Len: int64(len(check)), Specimen: check}
		}
		writes[num] = storage.SlotWrite{Tests: []storage.SlotTest{test}, Writes: p.write(num), NewLength: &p.length}
	}
	p.pending++
	p.busy[peer.ID]++
	p.f.c.wg.Go(func() { p.results <- p.sendOne(peer, nums, writes) })
}

func (p *publication) sendOne(peer storage.Peer, nums []storage.ShareNum, writes map[storage.ShareNum]storage.SlotWrite) written {
	c, si := p.f.c, p.f.o.si
	var size int64
	for _, w := range writes {
		for _, patch := range w.Writes {
			size += int64(len(patch.Data))
		}
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(p.ctx, c.patience(size))
	defer cancel()
	res, err := peer.Server.TestAndWrite(ctx, si, p.f.writeEnabler(peer), c.leaseSecrets(si, peer), writes, []storage.Span{{Len: ssk.MaxCheckstring}})
	r := written{peer: peer, nums: nums, err: err}
	if err == nil {
		p.judge(&r, res)
	} else if p.arrived(p.ctx, peer, nums, err) {
		r.err = nil
	}
	p.remember(&r, res)
	err = r.err
	if r.clash {
		err = &UncoordinatedError{Seen: r.seen}
	}
	p.tr.wrote(peer.ID, len(nums), err, time.Since(start))
	return r
}

// remember notes what the server holds now: what it has taken, and what its
// answer, if that has come, tells of the rest.
func (p *publication) remember(r *written, res *storage.SlotResult) {
	if r.err != nil || r.clash {
		p.f.o.forgetServer(r.peer.ID)
		return
	}
	shares, before := map[storage.ShareNum]held{}, p.m.known[r.peer.ID]
	for _, num := range r.nums {
		shares[num] = held{check: p.check[num], version: p.version, proven: true, good: true}
	}
	if res == nil {
		p.f.o.wrote(r.peer.ID, shares, false)
		return
	}
	for num, pieces := range res.Data {
		if _, is := shares[num]; is || len(pieces) != 1 {
			continue
		}
		if shares[num] = before.shares[num]; !bytes.Equal(pieces[0], shares[num].check) {
			shares[num] = held{check: bytes.Clone(pieces[0])}
		}
	}
	p.f.o.wrote(r.peer.ID, shares, true)
}

// judge sees from what the server held before whether anybody else has been
// there.
func (p *publication) judge(r *written, res *storage.SlotResult) {
	before := p.m.known[r.peer.ID]
	same := true // all shares are those of this version: the server has taken them before
	for num, pieces := range res.Data {
		if len(pieces) != 1 {
			continue
		}
		check, ours := pieces[0], slices.Contains(r.nums, num)
		if ours && bytes.Equal(check, p.check[num]) {
			continue
		}
		same = same && !ours
		if bytes.Equal(check, before.shares[num].check) || bytes.Equal(check, p.check[num]) {
			continue
		}
		if c, err := ssk.ParseCheckstring(check); err == nil {
			if ours || c.Seqnum >= p.version.Seqnum {
				r.seen = append(r.seen, c)
			}
			if c.Seqnum >= p.version.Seqnum {
				r.clash = true
			}
		}
	}
	if res.Applied {
		return
	}
	for _, num := range r.nums {
		if _, has := res.Data[num]; !has {
			same = false
		}
	}
	r.clash = !same
}

// arrived asks whether a server has taken the shares although its answer was
// lost.
func (p *publication) arrived(ctx context.Context, peer storage.Peer, nums []storage.ShareNum, err error) bool {
	if storage.Answered(err) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, p.f.c.c.Patience.Ask)
	defer cancel()
	held, err := peer.Server.ReadSlot(ctx, p.f.o.si, nums, []storage.Span{{Len: ssk.MaxCheckstring}})
	if err != nil {
		return false
	}
	for _, num := range nums {
		if pieces := held[num]; len(pieces) != 1 || !bytes.Equal(pieces[0], p.check[num]) {
			return false
		}
	}
	return true
}
