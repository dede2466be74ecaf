package zfec

import "testing"

// Hostile caps may name any k and n, hostile servers any subset.
func TestCacheIsBounded(t *testing.T) {
	c := cache[int, int]{limit: 3}
	builds := 0
	get := func(key int) int {
		v, err := c.get(key, func() (int, error) { builds++; return -key, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for key := range 100 {
		if got := get(key); got != -key {
			t.Fatalf("get(%d) = %d", key, got)
		}
		get(key)
	}
	if builds != 100 {
		t.Errorf("built %d times for 100 keys, each asked twice", builds)
	}
	if len(c.values) != 3 || len(c.order) != 3 || cap(c.order) > 8 {
		t.Errorf("holds %d values, %d in order (cap %d), limit 3", len(c.values), len(c.order), cap(c.order))
	}
	get(99)
	get(0)
	if builds != 101 {
		t.Errorf("built %d times, want the newest kept and the oldest gone", builds)
	}
}
