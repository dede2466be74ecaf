package happiness

// Input is what the servers said, and what is wanted.
type Input struct {
	// Writable and ReadOnly are server ids in permuted order; earlier ones
	// are preferred. Read-only servers take nothing new (full, or the share
	// is too large for them) but what they hold counts. A server in both is
	// read-only.
	Writable, ReadOnly []string
	// Existing is what each server holds already. Servers in neither list
	// and shares that are not of this file (N or above) are ignored.
	Existing map[string][]ShareNum
	// N is the number of shares of the file, 1 to 256.
	N int
}

// Plan says for each share which server should hold it. The happiness of
// Existing with the plan is the greatest that any plan could reach. Shares
// planned where they are already need only their lease renewed; all others
// are planned for writable servers, spread evenly. A share is left out only
// when there is no writable server.
//
// When a server refuses, call again with it among the read-only ones, or
// nowhere if it is gone. Equal inputs give equal plans.
func Plan(in Input) map[ShareNum]string {
	p := newPlanner(in)
	p.keep(p.readOnly)
	p.keep(p.writable)
	p.fill()
	p.spread()
	return p.plan
}

// planner carries a plan from step to step.
type planner struct {
	n                  int
	readOnly, writable []string // no server twice
	existing           map[string]*shareSet
	plan               map[ShareNum]string
	placed             shareSet
	load               map[string]int // shares planned per server
}

func newPlanner(in Input) *planner {
	n := min(max(in.N, 0), maxShares)
	p := &planner{
		n:        n,
		existing: make(map[string]*shareSet, len(in.Existing)),
		plan:     make(map[ShareNum]string, n),
		load:     make(map[string]int),
	}
	for server, shares := range in.Existing {
		p.existing[server] = setOf(shares, n)
	}
	seen := make(map[string]bool)
	p.readOnly = unseen(in.ReadOnly, seen)
	p.writable = unseen(in.Writable, seen)
	return p
}

// unseen lists the servers not seen yet, and notes them.
func unseen(servers []string, seen map[string]bool) []string {
	var list []string
	for _, server := range servers {
		if !seen[server] {
			seen[server] = true
			list = append(list, server)
		}
	}
	return list
}

func (p *planner) place(num int, server string) {
	p.plan[ShareNum(num)] = server
	p.placed[num] = true
	p.load[server]++
}

// keep plans as many existing shares as can each have a server of its own.
// It comes first for the read-only servers: each share they cover leaves a
// writable server free for another.
func (p *planner) keep(servers []string) {
	m := newMatching()
	for _, server := range servers {
		left := shareSet{}
		if have := p.existing[server]; have != nil {
			left = *have
		}
		left.minus(&p.placed)
		m.match(&left)
	}
	for num, owner := range m.owner {
		if owner >= 0 {
			p.place(num, servers[owner])
		}
	}
}

// fill gives each writable server without a share one that is not placed.
func (p *planner) fill() {
	num := 0
	for _, server := range p.writable {
		if p.load[server] > 0 {
			continue
		}
		for num < p.n && p.placed[num] {
			num++
		}
		if num == p.n {
			return
		}
		p.place(num, server)
	}
}

// spread plans the shares still left, which cannot add to the happiness:
// those that a writable server has stay there, the others go to whoever has
// the fewest.
func (p *planner) spread() {
	for num := range p.n {
		if p.placed[num] {
			continue
		}
		if server, ok := p.lightest(func(s string) bool { return p.has(s, num) }); ok {
			p.place(num, server)
		}
	}
	for num := range p.n {
		if p.placed[num] {
			continue
		}
		if server, ok := p.lightest(func(string) bool { return true }); ok {
			p.place(num, server)
		}
	}
}

func (p *planner) has(server string, num int) bool {
	have := p.existing[server]
	return have != nil && have[num]
}

// lightest is the writable server with the fewest shares among the suitable,
// the earliest of equals.
func (p *planner) lightest(suitable func(server string) bool) (best string, ok bool) {
	for _, server := range p.writable {
		if suitable(server) && (!ok || p.load[server] < p.load[best]) {
			best, ok = server, true
		}
	}
	return best, ok
}
