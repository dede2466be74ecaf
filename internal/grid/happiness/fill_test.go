package happiness

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

func TestFill(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    Input
		taken map[string][]ShareNum
		want  map[ShareNum]string
	}{
		{"nothing missing", Input{Writable: []string{"a", "b"}, Existing: map[string][]ShareNum{"a": {0, 1, 2}}, N: 3}, nil, nil},
		{"to who has nothing", Input{Writable: []string{"a", "b", "c"}, Existing: map[string][]ShareNum{"a": {0}, "b": {1}}, N: 4}, nil,
			map[ShareNum]string{2: "c", 3: "a"}},
		{"then to who has least", Input{Writable: []string{"a", "b", "c"}, Existing: map[string][]ShareNum{"a": {0, 4}, "b": {1}}, N: 5}, nil,
			map[ShareNum]string{2: "c", 3: "b"}},
		{"not to read-only ones", Input{Writable: []string{"b"}, ReadOnly: []string{"a", "c"}, Existing: map[string][]ShareNum{"a": {0}}, N: 3}, nil,
			map[ShareNum]string{1: "b", 2: "b"}},
		{"others' shares count", Input{Writable: []string{"b"}, Existing: map[string][]ShareNum{"z": {0, 1}}, N: 3}, nil, map[ShareNum]string{2: "b"}},
		{"not where it is taken", Input{Writable: []string{"a", "b"}, Existing: map[string][]ShareNum{"b": {0}}, N: 2}, map[string][]ShareNum{"a": {1}},
			map[ShareNum]string{1: "b"}},
		{"taken everywhere", Input{Writable: []string{"a"}, N: 2}, map[string][]ShareNum{"a": {1}}, map[ShareNum]string{0: "a"}},
		{"nobody", Input{N: 2}, nil, nil},
		{"strays", Input{Writable: []string{"a", "a"}, Existing: map[string][]ShareNum{"a": {9}}, N: 2}, nil, map[ShareNum]string{0: "a", 1: "a"}},
	} {
		if got := Fill(tt.in, tt.taken); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Every share has one home at most, where nothing lies, and no server gets two
// more than another could have had.
func TestFillEvenly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names := []string{"a", "b", "c", "d", "e", "f"}[:rapid.IntRange(1, 6).Draw(rt, "servers")]
		n := rapid.IntRange(1, 20).Draw(rt, "n")
		in := Input{Writable: names, Existing: map[string][]ShareNum{}, N: n}
		load, held := map[string]int{}, map[ShareNum]bool{}
		for num := range n {
			if rapid.Bool().Draw(rt, "there") {
				s := rapid.SampledFrom(names).Draw(rt, "on")
				in.Existing[s] = append(in.Existing[s], ShareNum(num))
				load[s]++
				held[ShareNum(num)] = true
			}
		}
		plan := Fill(in, nil)
		for num, s := range plan {
			if held[num] {
				rt.Fatalf("share %d was there", num)
			}
			held[num] = true
			load[s]++
		}
		if len(held) != n {
			rt.Fatalf("%d of %d shares have a home", len(held), n)
		}
		for num, s := range plan {
			for _, other := range names {
				if load[s] > load[other]+1 {
					rt.Fatalf("share %d is on %s, of %d, and %s has %d", num, s, load[s], other, load[other])
				}
			}
		}
	})
}
