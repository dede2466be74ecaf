package happiness_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tahoe-go/internal/grid/happiness"
)

type holdings = map[string][]happiness.ShareNum

// golden is what the reference answered.
type golden struct {
	Happiness []struct {
		Shares    map[string][]string // share to servers
		Happiness int
	}
	Placement []struct {
		Name            string
		Peers, ReadOnly []string
		Shares          int
		Existing        holdings
		Placement       map[string]string
	}
}

func load(t *testing.T) golden {
	t.Helper()
	text, err := os.ReadFile("testdata/happiness.json")
	if err != nil {
		t.Fatal(err)
	}
	var file golden
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Happiness) != 12 || len(file.Placement) != 5 {
		t.Fatalf("%d and %d rows, want 12 and 5", len(file.Happiness), len(file.Placement))
	}
	return file
}

func shareNum(t *testing.T, text string) happiness.ShareNum {
	t.Helper()
	num, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		t.Fatal(err)
	}
	return happiness.ShareNum(num)
}

func TestGoldenHappiness(t *testing.T) {
	for _, row := range load(t).Happiness {
		held := make(holdings)
		for num, servers := range row.Shares {
			for _, s := range servers {
				held[s] = append(held[s], shareNum(t, num))
			}
		}
		if got := happiness.Happiness(held); got != row.Happiness {
			t.Errorf("Happiness(%v) = %d, want %d", held, got, row.Happiness)
		}
	}
}

// Several plans are as good; the reference's and ours must be equally happy.
func TestGoldenPlacement(t *testing.T) {
	for _, row := range load(t).Placement {
		theirs := make(map[happiness.ShareNum]string)
		for num, server := range row.Placement {
			theirs[shareNum(t, num)] = server
		}
		in := happiness.Input{Writable: row.Peers, ReadOnly: row.ReadOnly, Existing: row.Existing, N: row.Shares}
		ours := happiness.Plan(in)
		got := happiness.Happiness(happiness.Merge(row.Existing, ours))
		want := happiness.Happiness(happiness.Merge(row.Existing, theirs))
		if got != want {
			t.Errorf("%s: happiness %d by %v, the reference has %d", row.Name, got, ours, want)
		}
		checkPlan(t, in, ours)
	}
}

// checkPlan is what holds for every plan.
func checkPlan(t interface{ Errorf(string, ...any) }, in happiness.Input, plan map[happiness.ShareNum]string) {
	load := make(map[string]int)
	moved := make(map[string]int)
	for num, server := range plan {
		load[server]++
		if int(num) >= in.N {
			t.Errorf("share %d planned of %d", num, in.N)
		}
		if slices.Contains(in.Existing[server], num) {
			continue
		}
		moved[server]++
		if slices.Contains(in.ReadOnly, server) || !slices.Contains(in.Writable, server) {
			t.Errorf("share %d planned for %q, which is not writable", num, server)
		}
	}
	writable := slices.DeleteFunc(slices.Clone(in.Writable), func(s string) bool { return slices.Contains(in.ReadOnly, s) })
	if len(writable) > 0 && len(plan) != in.N {
		t.Errorf("%d shares planned of %d", len(plan), in.N)
	}
	least := in.N
	for _, s := range writable {
		least = min(least, load[s])
	}
	for s, count := range moved {
		if load[s] > least+1 && count > 0 {
			t.Errorf("%q gets %d shares, %d of them new, while another has %d: %v", s, load[s], count, least, plan)
		}
	}
	if again := happiness.Plan(in); !cmp.Equal(again, plan) {
		t.Errorf("planned twice: %s", cmp.Diff(plan, again))
	}
}

func TestPlan(t *testing.T) {
	type plan = map[happiness.ShareNum]string
	for _, tt := range []struct {
		name string
		in   happiness.Input
		want plan
	}{
		{"nobody", happiness.Input{N: 3}, plan{}},
		{"no shares", happiness.Input{Writable: []string{"a"}}, plan{}},
		{"in permuted order", happiness.Input{Writable: []string{"c", "a", "b", "d"}, N: 3},
			plan{0: "c", 1: "a", 2: "b"}},
		{"more shares than servers", happiness.Input{Writable: []string{"b", "a"}, N: 5},
			plan{0: "b", 1: "a", 2: "b", 3: "a", 4: "b"}},
		{"read-only servers alone", happiness.Input{ReadOnly: []string{"r"}, Existing: holdings{"r": {1, 2}}, N: 4},
			plan{1: "r"}},
		{"a read-only server frees a writable one",
			happiness.Input{Writable: []string{"w"}, ReadOnly: []string{"r"}, Existing: holdings{"w": {0}, "r": {0}}, N: 2},
			plan{0: "r", 1: "w"}},
		{"all there", happiness.Input{Writable: []string{"a", "b", "c"}, Existing: holdings{"a": {2}, "b": {0}, "c": {1}}, N: 3},
			plan{2: "a", 0: "b", 1: "c"}},
		{"one server has all", happiness.Input{Writable: []string{"a", "b", "c"}, Existing: holdings{"b": {0, 1, 2}}, N: 3},
			plan{0: "b", 1: "a", 2: "c"}},
		{"left-over shares stay where they are",
			happiness.Input{Writable: []string{"a", "b"}, Existing: holdings{"a": {0, 2, 3}}, N: 4},
			plan{0: "a", 1: "b", 2: "a", 3: "a"}},
		{"an owner moves to make room",
			happiness.Input{ReadOnly: []string{"a", "b"}, Existing: holdings{"a": {0, 1}, "b": {0}}, N: 2},
			plan{0: "b", 1: "a"}},
		{"in both lists", happiness.Input{Writable: []string{"x", "y"}, ReadOnly: []string{"x"}, N: 2},
			plan{0: "y", 1: "y"}},
		{"twice in a list", happiness.Input{Writable: []string{"x", "x", "y"}, N: 2},
			plan{0: "x", 1: "y"}},
		{"shares not of this file and unknown servers",
			happiness.Input{Writable: []string{"x"}, Existing: holdings{"x": {7, 255}, "gone": {0}}, N: 1},
			plan{0: "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := happiness.Plan(tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			checkPlan(t, tt.in, got)
		})
	}
}

// best tries every way to give servers, from number i on, a share of their
// own.
func best(servers [][]happiness.ShareNum, used map[happiness.ShareNum]bool) int {
	if len(servers) == 0 {
		return 0
	}
	most := best(servers[1:], used)
	for _, num := range servers[0] {
		if !used[num] {
			used[num] = true
			most = max(most, 1+best(servers[1:], used))
			used[num] = false
		}
	}
	return most
}

func bruteForce(held holdings) int {
	var list [][]happiness.ShareNum
	for _, shares := range held {
		list = append(list, shares)
	}
	return best(list, make(map[happiness.ShareNum]bool))
}

func drawHoldings(t *rapid.T, servers []string, n int) holdings {
	held := make(holdings)
	for _, s := range servers {
		shares := rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 4).Draw(t, s)
		for _, num := range shares {
			held[s] = append(held[s], happiness.ShareNum(num))
		}
	}
	return held
}

func names(prefix string, count int) []string {
	var list []string
	for i := range count {
		list = append(list, fmt.Sprintf("%s%02d", prefix, i))
	}
	return list
}

func TestHappinessAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		servers := names("s", rapid.IntRange(0, 7).Draw(t, "servers"))
		held := drawHoldings(t, servers, rapid.IntRange(1, 7).Draw(t, "n"))
		if got, want := happiness.Happiness(held), bruteForce(held); got != want {
			t.Errorf("Happiness(%v) = %d, want %d", held, got, want)
		}
	})
}

// No plan could be happier: the best any could do is a matching where each
// writable server may have any share.
func TestPlanAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "n")
		in := happiness.Input{
			Writable: rapid.Permutation(names("w", rapid.IntRange(0, 4).Draw(t, "writable"))).Draw(t, "order"),
			ReadOnly: names("r", rapid.IntRange(0, 3).Draw(t, "readonly")),
			N:        n,
		}
		in.Existing = drawHoldings(t, slices.Concat(in.Writable, in.ReadOnly), n)
		plan := happiness.Plan(in)
		checkPlan(t, in, plan)

		possible := make(holdings)
		for _, s := range in.ReadOnly {
			possible[s] = in.Existing[s]
		}
		for _, s := range in.Writable {
			for num := range n {
				possible[s] = append(possible[s], happiness.ShareNum(num))
			}
		}
		got := happiness.Happiness(happiness.Merge(in.Existing, plan))
		if want := bruteForce(possible); got != want {
			t.Errorf("happiness %d by %v, could be %d", got, plan, want)
		}
	})
}

func TestMergeLeavesItsInputs(t *testing.T) {
	held := holdings{"a": {3, 1}}
	plan := map[happiness.ShareNum]string{1: "a", 2: "b"}
	if diff := cmp.Diff(holdings{"a": {1, 3}, "b": {2}}, happiness.Merge(held, plan)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(holdings{"a": {3, 1}}, held); diff != "" {
		t.Errorf("input changed: %s", diff)
	}
}

// large is 510 servers, half of them full, each holding every third share:
// the widest question an upload of 255 shares asks.
func large() happiness.Input {
	in := happiness.Input{Writable: names("w", 255), ReadOnly: names("r", 255), N: 255, Existing: make(holdings)}
	for i, s := range slices.Concat(in.Writable, in.ReadOnly) {
		for num := i % 3; num < 255; num += 3 {
			in.Existing[s] = append(in.Existing[s], happiness.ShareNum(num))
		}
	}
	return in
}

func TestLarge(t *testing.T) {
	in := large()
	plan := happiness.Plan(in)
	checkPlan(t, in, plan)
	if got := happiness.Happiness(happiness.Merge(in.Existing, plan)); got != 255 {
		t.Errorf("happiness %d, want 255", got)
	}
}

func BenchmarkPlan(b *testing.B) {
	in := large()
	for b.Loop() {
		happiness.Plan(in)
	}
}

func BenchmarkHappiness(b *testing.B) {
	in := large()
	for b.Loop() {
		happiness.Happiness(in.Existing)
	}
}
