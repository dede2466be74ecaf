package mutable

import (
	"bytes"
	"context"
	"errors"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// CreateOptions say what a new file is to be.
type CreateOptions struct {
	MDMF bool
	Key  *ssk.PrivateKey // nil: a new one
}

// Create stores a new mutable file with the contents that content makes for
// its cap; a nil content stands for none.
func (c *Client) Create(ctx context.Context, o CreateOptions, content func(caps.SSK) ([]byte, error), tr *Trace) (caps.SSK, error) {
	key := o.Key
	if key == nil {
		var err error
		if key, err = ssk.GenerateKey(c.c.Random); err != nil {
			return caps.SSK{}, err
		}
	}
	cap := key.Cap(o.MDMF)
	var text []byte
	if content != nil {
		var err error
		if text, err = content(cap); err != nil {
			return caps.SSK{}, err
		}
	}
	f, err := c.Open(cap)
	if err != nil {
		return caps.SSK{}, err
	}
	unlock, err := c.lock(ctx, f.si)
	if err != nil {
		return caps.SSK{}, err
	}
	defer unlock()
	s := &survey{bad: map[string][]storage.ShareNum{}, failed: map[string]error{}, answered: c.c.Servers.ForUpload(f.si)}
	if o.Key != nil { // the key may have a file already
		s = f.survey(ctx, tr, func(*survey) bool { return false })
	}
	return cap, f.publish(ctx, s, key, o.MDMF, text, tr)
}

// Overwrite makes data the file's contents, whatever they were.
func (f *File) Overwrite(ctx context.Context, data []byte, tr *Trace) error {
	return f.change(ctx, func(context.Context, *survey) ([]byte, error) { return data, nil }, tr)
}

// change publishes what make returns, by turns.
func (f *File) change(ctx context.Context, make func(context.Context, *survey) ([]byte, error), tr *Trace) error {
	if !f.can {
		return ErrNotWritable
	}
	unlock, err := f.c.lock(ctx, f.si)
	if err != nil {
		return err
	}
	defer unlock()
	s := f.survey(ctx, tr, func(*survey) bool { return true })
	if err := ctx.Err(); err != nil {
		return err
	}
	v, ok := s.best()
	if !ok {
		return &UnrecoverableError{Servers: len(s.answered), Shares: len(s.shares)}
	}
	key, err := s.key(ctx, f.write)
	if err != nil {
		return err
	}
	data, err := make(ctx, s)
	if err != nil {
		return err
	}
	return f.publish(ctx, s, key, v.MDMF, data, tr)
}

// key reads the private key from any share.
func (s *survey) key(ctx context.Context, cap caps.SSK) (*ssk.PrivateKey, error) {
	var errs []error
	for _, sh := range s.shares {
		k, err := sh.share.PrivateKey(ctx, cap)
		if err == nil {
			return k, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// publish writes a version newer than all in s: over every share found, and
// the rest to servers in order.
func (f *File) publish(ctx context.Context, s *survey, key *ssk.PrivateKey, mdmf bool, text []byte, tr *Trace) error {
	k, n := f.c.c.K, f.c.c.N
	seq := uint64(1)
	for _, v := range s.versions() {
		seq = max(seq, v.Seqnum+1)
	}
	if v, ok := s.best(); ok {
		k, n = v.K, v.N
	}
	enc, err := ssk.Encode(ctx, ssk.Config{Key: key, MDMF: mdmf, K: k, N: n, Seqnum: seq, Random: f.c.c.Random}, bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return err
	}
	goals := s.goals(n)
	type result struct {
		nums []storage.ShareNum
		res  *storage.SlotResult
		err  error
	}
	results := make(chan result, len(goals))
	for peer, g := range goals {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, f.c.c.Patience.Ask)
			defer cancel()
			start := time.Now()
			writes := map[storage.ShareNum]storage.SlotWrite{}
			var nums []storage.ShareNum
			for num, check := range g.shares {
				nums = append(nums, num)
				test := storage.SlotTest{Off: 0, Len: 1} // there is none
				if check != nil {
					test = storage.SlotTest{Off: 0, Len: int64(len(check)), Specimen: check}
				}
				size := enc.ShareSize()
				w := storage.SlotWrite{Writes: []storage.SlotPatch{{Off: 0, Data: enc.Share(num)}}, NewLength: &size}
				if !g.any[num] {
					w.Tests = []storage.SlotTest{test}
				}
				writes[num] = w
			}
			we := storage.NewWriteEnabler(tagged.WriteEnabler(f.write.WriteKey.Reveal(), g.peer.LeaseSeed))
			res, err := g.peer.Server.TestAndWrite(ctx, f.si, we, f.c.leaseSecrets(f.si, g.peer), writes, []storage.Span{{Off: 0, Len: ssk.MaxCheckstring}})
			tr.wrote(peer, len(nums), err, time.Since(start))
			results <- result{nums, res, err}
		}()
	}
	placed := map[storage.ShareNum]bool{}
	var seen []ssk.Checkstring
	var errs []error
	for range goals {
		r := <-results
		switch {
		case r.err != nil:
			errs = append(errs, r.err)
		case !r.res.Applied:
			for _, pieces := range r.res.Data {
				if len(pieces) > 0 {
					if cs, err := ssk.ParseCheckstring(pieces[0]); err == nil {
						seen = append(seen, cs)
					}
				}
			}
			if len(seen) == 0 {
				seen = append(seen, ssk.Checkstring{})
			}
		default:
			for _, num := range r.nums {
				placed[num] = true
			}
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(seen) > 0:
		return &UncoordinatedError{Seen: seen}
	case len(placed) < k:
		return &NotEnoughServersError{Placed: len(placed), Want: k, Errs: errs}
	}
	return nil
}

// goal is what one server is to hold.
type goal struct {
	peer   storage.Peer
	shares map[storage.ShareNum][]byte // the checkstring there must be; nil: no share
	any    map[storage.ShareNum]bool   // whatever there is, it is no good
}

// goals plans a publication: every share that was found is written over, the
// others go to the servers with the fewest.
func (s *survey) goals(n int) map[string]*goal {
	goals := map[string]*goal{}
	at := func(p storage.Peer) *goal {
		g := goals[p.ID]
		if g == nil {
			g = &goal{p, map[storage.ShareNum][]byte{}, map[storage.ShareNum]bool{}}
			goals[p.ID] = g
		}
		return g
	}
	homed := map[storage.ShareNum]bool{}
	for _, sh := range s.shares {
		if int(sh.share.Num()) < n {
			at(sh.peer).shares[sh.share.Num()] = sh.check
			homed[sh.share.Num()] = true
		}
	}
	for _, p := range s.answered {
		for _, num := range s.bad[p.ID] {
			if int(num) < n {
				at(p).shares[num] = nil
				at(p).any[num] = true
				homed[num] = true
			}
		}
	}
	if len(s.answered) == 0 {
		return goals
	}
	for i := range n {
		num := storage.ShareNum(i)
		if homed[num] {
			continue
		}
		home := s.answered[0]
		for _, p := range s.answered {
			if len(at(p).shares) < len(at(home).shares) {
				home = p
			}
		}
		at(home).shares[num] = nil
	}
	for id, g := range goals {
		if len(g.shares) == 0 {
			delete(goals, id)
		}
	}
	return goals
}
