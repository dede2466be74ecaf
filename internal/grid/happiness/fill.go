package happiness

// Fill says which server should get each share that no server has, for a
// repair: what is in place stays, and no share is planned twice. Servers with
// nothing come first, then those with least, the earlier of equals. taken are
// shares that a server cannot be given, because something else lies in their
// place there. A share is left out when no writable server can take it. Unlike in
// Plan, what servers in neither list hold counts too.
func Fill(in Input, taken map[string][]ShareNum) map[ShareNum]string {
	p := newPlanner(in)
	for server, have := range p.existing {
		for num := range p.n {
			if have[num] {
				p.placed[num] = true
				p.load[server]++
			}
		}
	}
	for num := range p.n {
		if p.placed[num] {
			continue
		}
		free := func(server string) bool { return !setOf(taken[server], p.n)[num] }
		if server, ok := p.lightest(free); ok {
			p.place(num, server)
		}
	}
	return p.plan
}
