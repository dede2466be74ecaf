package zfec

import "sync"

// cache keeps the latest values made, at most limit; the oldest goes first.
// Two callers that miss the same key at once each make one.
type cache[K comparable, V any] struct {
	limit int

	mu     sync.Mutex // guards below
	values map[K]V
	order  []K // oldest first
}

func (c *cache[K, V]) get(key K, build func() (V, error)) (V, error) {
	c.mu.Lock()
	v, ok := c.values[key]
	c.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := build() // not under the lock: others need not wait milliseconds
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.values[key]; ok {
		return have, nil
	}
	if c.values == nil {
		c.values = make(map[K]V)
	}
	if len(c.order) >= c.limit {
		delete(c.values, c.order[0])
		c.order = append(c.order[:0], c.order[1:]...)
	}
	c.values[key] = v
	c.order = append(c.order, key)
	return v, nil
}
