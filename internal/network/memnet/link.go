package memnet

import (
	"sync"
	"time"
)

// Link is what the path between two hosts is like, the same in each direction.
// The zero Link delivers at once.
type Link struct {
	Latency   time.Duration // one way
	Bandwidth int64         // bytes per second each way, shared by all connections of the pair; 0: no limit
	Buffer    int           // bytes sent and not yet read, per connection and direction; 0: 256 KiB
	CutAfter  int64         // reset each connection once it has carried this many bytes, both ways together; 0: never
}

const defaultBuffer = 256 << 10

// link is a Link in use.
type link struct {
	mu sync.Mutex // guards below
	Link
	free     [2]time.Time // when the line is free again: from the lesser name to the greater, and back
	parted   bool         // guarded by Net.mu
	selfMade bool         // guarded by Net.mu; set by SetLink, so SetDefault leaves it
}

// arrive books n bytes on the line and returns when the last of them is there.
func (l *link) arrive(dir int, n int, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free[dir].Before(now) {
		l.free[dir] = now
	}
	if l.Bandwidth > 0 {
		l.free[dir] = l.free[dir].Add(time.Duration(n) * time.Second / time.Duration(l.Bandwidth))
	}
	return l.free[dir].Add(l.Latency)
}

func (l *link) latency() time.Duration { l.mu.Lock(); defer l.mu.Unlock(); return l.Latency }

func (l *link) buffer() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Buffer == 0 {
		return defaultBuffer
	}
	return l.Buffer
}

func (l *link) cutAfter() int64 { l.mu.Lock(); defer l.mu.Unlock(); return l.CutAfter }

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// link needs n.mu. A host reaches itself at once.
func (n *Net) link(a, b string) *link {
	k := pair(a, b)
	l := n.links[k]
	if l == nil {
		l = &link{}
		if a != b {
			l.Link = n.def
		}
		n.links[k] = l
	}
	return l
}

// SetDefault sets every link between different hosts that SetLink has not set.
func (n *Net) SetDefault(to Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.def = to
	for k, l := range n.links {
		if !l.selfMade && k[0] != k[1] {
			l.set(to)
		}
	}
}

// SetLink sets the link between hosts a and b, which may be one host. Bytes
// already sent arrive as they would have.
func (n *Net) SetLink(a, b string, to Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(normal(a), normal(b))
	l.selfMade = true
	l.set(to)
}

func (l *link) set(to Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Link = to
}

// Partition loses everything between a and b: dials hang, connections stand
// and carry nothing. What is sent meanwhile arrives after Heal, as TCP would
// send it again.
func (n *Net) Partition(a, b string) { n.part(a, b, true) }

// Heal ends a Partition.
func (n *Net) Heal(a, b string) { n.part(a, b, false) }

func (n *Net) part(a, b string, parted bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(normal(a), normal(b)).parted = parted
	n.wake()
}

// Cut resets every connection between a and b; bytes on the way are lost.
func (n *Net) Cut(a, b string) {
	k := pair(normal(a), normal(b))
	for _, w := range n.between(func(w *wire) bool { return pair(w.ends[0].host.name, w.ends[1].host.name) == k }) {
		w.cut()
	}
}

// passable reports whether packets get from a to b now, and a channel that is
// closed when that may have changed.
func (n *Net) passable(a, b *Host, l *link) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !l.parted && a.fault != Hang && b.fault != Hang || n.closed, n.changed
}
