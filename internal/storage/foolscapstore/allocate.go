package foolscapstore

import (
	"context"
	"fmt"
	"slices"

	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/storage"
)

var allocation = banana.TupleOf(banana.SetOf(shareNum, maxShares), banana.DictOf(shareNum, banana.Reference(), maxShares))

// Allocate implements storage.Immutables. When ctx ends while the server has
// the call, its uploads are aborted as soon as it answers.
func (c *Client) Allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	fail := func(err error) (*storage.Allocation, error) {
		return nil, fmt.Errorf("allocating shares of %s: %w", si.Short(), err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if size < 0 {
		return fail(fmt.Errorf("%d bytes: negative size", size))
	}
	type outcome struct {
		a   *storage.Allocation
		err error
	}
	done := make(chan outcome)
	c.tasks.Go(func() {
		after, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(c.life, cancel)()
		a, err := c.allocate(after, si, nums, size, ls)
		select {
		case done <- outcome{a, err}:
			return
		case <-ctx.Done():
		}
		if err == nil {
			for _, w := range a.Writers {
				w.Abort(after) // the server gives up by itself, too
			}
		}
	})
	select {
	case o := <-done:
		if o.err != nil {
			return fail(o.err)
		}
		return o.a, nil
	case <-ctx.Done():
		return fail(ctx.Err())
	}
}

func (c *Client) allocate(ctx context.Context, si storage.Index, nums []storage.ShareNum, size int64, ls storage.LeaseSecrets) (*storage.Allocation, error) {
	nums = slices.Clone(nums)
	slices.Sort(nums)
	asked := banana.Set{}
	for _, num := range slices.Compact(nums) {
		asked = append(asked, int64(num))
	}
	v, err := c.ask(ctx, 0, "allocate_buckets", allocation, si[:], []byte(ls.Renew.Reveal()), []byte(ls.Cancel.Reveal()), asked, size, c.canary)
	if err != nil {
		return nil, err
	}
	t := v.(banana.Tuple)
	a := &storage.Allocation{Writers: make(map[storage.ShareNum]storage.ShareWriter)}
	for _, num := range t[0].(banana.Set) {
		a.Have = append(a.Have, storage.ShareNum(num.(int64)))
	}
	slices.Sort(a.Have)
	a.Have = slices.Compact(a.Have)
	wanted := func(num storage.ShareNum) bool { return slices.Contains(nums, num) && !slices.Contains(a.Have, num) }
	for num, ref := range bucketsOf(t[1].(banana.Dict), wanted) {
		a.Writers[num] = newShareWriter(c, ref, fmt.Sprintf("share %d of %s", num, si.Short()), size)
	}
	return a, nil
}
