package immutable

import (
	"slices"

	"tahoe-go/internal/storage"
)

// place is a share on a server.
type place struct {
	server string
	num    storage.ShareNum
}

// guess opens the shares that whoever stored the file has probably given to
// the first servers in permuted order, instead of asking these what they hold:
// that saves a round trip where it takes long. It returns the other servers,
// who need not be asked at all if the guesses are good. p.mu is held.
func (p *pool) guess(peers []storage.Peer) (rest []storage.Peer) {
	for i, peer := range peers {
		num := storage.ShareNum(i)
		from, ok := storage.ShareAt(peer.Server, p.f.si, num)
		if !ok || i >= p.f.cap.K || !p.f.c.trips.far(peer.ID) || slices.Contains(p.f.damaged[peer.ID], num) {
			rest = append(rest, peer)
			continue
		}
		p.guessed[place{peer.ID, num}] = true
		p.guesses = append(p.guesses, peer)
		p.startOpening(&share{num: num, peer: peer, from: from, guess: true}, p.first)
	}
	return rest
}

// wrong takes back a guess: its server and the others are asked what they
// hold. p.mu is held.
func (p *pool) wrong(s *share) {
	delete(p.guessed, place{s.peer.ID, s.num})
	p.f.c.trips.guessed(false)
	p.look()
	p.list(s.peer.ID)
}

// holds notes that a guess was right. p.mu is held.
func (p *pool) holds(s *share) {
	if rep := p.report[s.peer.ID]; !slices.Contains(rep.Shares, s.num) {
		rep.Shares = append(rep.Shares, s.num)
	}
	p.trace.placed(s.peer.ID, s.num, true)
	p.f.c.trips.guessed(true)
}

// list asks a server what it holds whose share was guessed, all of them
// without a name. p.mu is held.
func (p *pool) list(server string) {
	p.guesses = slices.DeleteFunc(p.guesses, func(peer storage.Peer) bool {
		if server != "" && peer.ID != server {
			return false
		}
		p.listing++
		p.f.c.wg.Go(func() { // as in askOne, the read does not wait for it
			p.askOne(peer)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.listing--
			p.notify()
		})
		return true
	})
}
