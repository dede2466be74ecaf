package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// foolscap are the rows of the same servers by the older protocol: a client
// that is told to speak nothing else. The Python program moves 26 and 80 MiB/s
// in such a grid.
func (b *bench) foolscap(ctx context.Context) (err error) {
	r, err := b.startGrid(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	r.data = randomBytes(100 * mib)
	r.gateway.Close()
	if err := r.client.Stop(); err != nil {
		return err
	}
	if err := r.grid.NewClient(ctx, "foolscap", "[client]\nforce_foolscap = true\n", r.servers); err != nil {
		return err
	}
	if err := r.startClient(ctx, "foolscap"); err != nil {
		return err
	}
	w, err := r.gateway.Welcome(ctx)
	if err != nil {
		return err
	}
	for _, s := range w.Servers {
		if s.Protocol != "Foolscap" {
			return fmt.Errorf("the client speaks %s to %s", s.Protocol, s.Name)
		}
	}
	const size = 100
	putLimit, getLimit := r.b.limits()
	var puts, gets []time.Duration
	var putNote, getNote string
	for range r.b.rounds {
		data := r.file(size * mib)
		cap, took, note, err := r.watchPut(ctx, data)
		if err != nil {
			return fmt.Errorf("put by Foolscap: %w", err)
		}
		puts, putNote = append(puts, took), note
		getNote, err = r.watch(float64(len(data))/1e6, func() error {
			took, err := r.get(ctx, cap, data)
			gets = append(gets, took)
			return err
		})
		if err != nil {
			return fmt.Errorf("get by Foolscap: %w", err)
		}
	}
	put := rate("Foolscap: put 100 MiB", size, median(puts), putLimit, putNote)
	get := rate("Foolscap: get 100 MiB", size, median(gets), getLimit, getNote)
	put.target, get.target = 80, 250
	r.b.out.add(put)
	r.b.out.add(get)
	return r.manySmall(ctx, "Foolscap: 200 puts of 10 KiB, one after another", 0)
}
