package mutable

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// ask puts the question to the first n peers, those who have not got it yet.
// s.mu is held.
func (s *survey) ask(n int) {
	for ; s.next < min(n, len(s.peers)); s.next++ {
		s.askPeer(s.next)
	}
}

func (s *survey) askPeer(i int) {
	peer, likely, one := s.peers[i], s.f.likely(s.peers, i), !s.whole
	s.pending[peer.ID] = true
	q, earlier := s.f.o.question(peer.ID)
	s.f.c.wg.Go(func() { // it may outlast the survey: then the answer serves the next one
		var a *answer
		switch {
		case s.joins && earlier != nil:
			<-earlier.done
			if a = earlier.answer; a.err != nil && s.over.Load() {
				a = &answer{peer: peer, err: a.err, part: true} // nobody waits for another
				s.f.o.answered(peer.ID, q, a)
				return
			}
		case s.joins && len(s.f.o.knownSince(s.since, peer.ID)) > 0: // it has answered just now
			a = &answer{peer: peer}
		}
		if a == nil || a.err != nil || a.part {
			a = s.askOne(peer, likely, one)
		} else {
			s.joined.Store(true)
		}
		s.f.o.answered(peer.ID, q, a)
		s.answers <- a
	})
}

// likely are the shares that peers[i] will probably hold: those it held, or
// those that whoever made the file has given it, server after server in
// permuted order.
func (f *File) likely(peers []storage.Peer, i int) (nums []storage.ShareNum) {
	if held, ok := f.o.knownAt(peers[i].ID); ok {
		return held
	}
	for num := i; num < f.c.c.N; num += len(peers) {
		nums = append(nums, storage.ShareNum(num))
	}
	return nums
}

// askAll asks again, for all shares, those who were asked for one. s.mu is
// held.
func (s *survey) askAll() {
	if s.whole {
		return
	}
	s.whole = true
	for i, peer := range s.peers[:s.next] {
		if a := s.got[peer.ID]; a != nil && a.part {
			s.askPeer(i)
		}
	}
}

// readHeads asks a server for the start of its shares, with one request of
// whichever protocol if possible: who may write asks by a write of nothing,
// and who may not, if one share is enough, for the one that is likely there.
// In part, if that is all it asked for.
func (s *survey) readHeads(ctx context.Context, peer storage.Peer, likely []storage.ShareNum, one bool) (held map[storage.ShareNum][][]byte, part bool, err error) {
	c, o, spans := s.f.c, s.f.o, []storage.Span{{Len: s.head}}
	switch {
	case s.f.write != nil:
		res, err := peer.Server.TestAndWrite(ctx, o.si, s.f.writeEnabler(peer), c.leaseSecrets(o.si, peer), nil, spans)
		if err == nil {
			return res.Data, false, nil
		}
		if errors.Is(err, storage.ErrBadWriteEnabler) {
			c.c.Log.Warn("a server holds shares that cannot be changed: another write enabler was recorded with them", "server", peer.ID, "si", o.si.Short(), "err", err)
		}
	case one && len(likely) > 0 && len(s.peers) >= c.c.K:
		held, err := peer.Server.ReadSlot(ctx, o.si, likely[:1], spans)
		if err == nil && len(held) > 0 {
			return held, true, nil
		}
	}
	held, err = peer.Server.ReadSlot(storage.Expecting(ctx, likely), o.si, nil, spans)
	return held, false, err
}

func (f *File) writeEnabler(peer storage.Peer) storage.WriteEnabler {
	return storage.NewWriteEnabler(tagged.WriteEnabler(f.write.WriteKey.Reveal(), peer.LeaseSeed))
}

func (s *survey) askOne(peer storage.Peer, likely []storage.ShareNum, one bool) *answer {
	c, o := s.f.c, s.f.o
	ctx, cancel := context.WithTimeout(c.ctx, c.c.Patience.Ask)
	defer cancel()
	a := &answer{peer: peer, asked: time.Now()}
	held, part, err := s.readHeads(ctx, peer, likely, one)
	a.err, a.part, a.took = err, part, time.Since(a.asked)
	c.slow.note(peer.ID, err != nil && ctx.Err() != nil)
	nums := slices.Sorted(maps.Keys(held))
	for _, num := range nums {
		if len(held[num]) != 1 {
			continue
		}
		head := held[num][0]
		h := &holding{num: num, peer: peer, check: bytes.Clone(head[:min(len(head), ssk.MaxCheckstring)]), took: a.took}
		share, err := o.file.Open(ctx, slot{peer.Server, o.si, num}, num, head)
		if err == nil {
			h.version, h.proven = share.Version(), true
		}
		if err == nil && !s.anew && o.damaged(h.damage()) {
			err = &ssk.CorruptError{Share: num, What: "damaged when it was read before"}
		}
		if err == nil {
			h.share = share
		} else {
			h.err = err
			s.f.drop(h, err, s.tr)
		}
		a.shares = append(a.shares, h)
	}
	o.learn(a, s.f.write != nil)
	s.tr.asked(peer.ID, nums, err, a.took)
	return a
}
