package storage

import "context"

// expected is the key of Expecting's value.
type expected struct{}

// Expecting returns a context for ReadSlot of whatever shares there are, with
// those that the server will probably hold. A protocol that has to ask which
// there are first may read these in the same round trip. The answer is the
// same, whether they are there or not.
func Expecting(ctx context.Context, nums []ShareNum) context.Context {
	return context.WithValue(ctx, expected{}, nums)
}

// Expected returns the shares given to Expecting.
func Expected(ctx context.Context) []ShareNum {
	nums, _ := ctx.Value(expected{}).([]ShareNum)
	return nums
}
