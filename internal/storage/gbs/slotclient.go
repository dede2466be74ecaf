package gbs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// ReadSlot implements storage.Mutables: a request for each megabyte of each
// span of each share, MaxConns at a time, and one before for the list when no
// share is named; what storage.Expected names is read beside the list.
func (c *Client) ReadSlot(ctx context.Context, si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	data, err := c.readSlot(ctx, si, nums, spans)
	if err != nil {
		return nil, fmt.Errorf("reading slot %s: %w", si.Short(), err)
	}
	return data, nil
}

func (c *Client) readSlot(ctx context.Context, si storage.Index, nums []storage.ShareNum, spans []storage.Span) (map[storage.ShareNum][][]byte, error) {
	if err := storage.CheckSlotSpans(spans); err != nil {
		return nil, err
	}
	r := &slotRead{c: c, si: si, spans: spans, data: make(map[storage.ShareNum][][]byte)}
	asking := slices.ContainsFunc(spans, func(s storage.Span) bool { return s.Len > 0 })
	if len(nums) > 0 && asking {
		return r.data, r.readAll(ctx, nums)
	}
	// Which shares there are has to be asked first, also because an empty
	// range cannot be asked for. Those that are expected are read meanwhile.
	g, gctx := errgroup.WithContext(ctx)
	var held []storage.ShareNum
	g.Go(func() (err error) {
		held, err = c.listSlot(gctx, si)
		return err
	})
	if asking {
		g.Go(func() error { return r.readAll(gctx, storage.Expected(ctx)) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	held = slices.DeleteFunc(held, func(num storage.ShareNum) bool {
		_, have := r.data[num]
		return have || len(nums) > 0 && !slices.Contains(nums, num)
	})
	return r.data, r.readAll(ctx, held)
}

// readAll reads the spans of some shares. Those that are not there are not in
// the answer.
func (r *slotRead) readAll(ctx context.Context, nums []storage.ShareNum) error {
	for _, num := range nums {
		r.data[num] = make([][]byte, len(r.spans))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.c.cfg.MaxConns)
	for _, num := range nums {
		pieces := r.data[num]
		for i, span := range r.spans {
			if span.Len > 0 {
				g.Go(func() (err error) {
					pieces[i], err = r.read(ctx, path{res: resSlotShare, si: r.si, num: num}, span)
					return err
				})
			}
		}
	}
	return g.Wait()
}

// listSlot asks which shares are held.
func (c *Client) listSlot(ctx context.Context, si storage.Index) ([]storage.ShareNum, error) {
	var got sharesAnswer
	_, err := c.exchange(ctx, request{method: "GET", path: path{res: resSlotShares, si: si}}, &got, codeOK)
	return got.nums, err
}

// slotRead is one ReadSlot.
type slotRead struct {
	c     *Client
	si    storage.Index
	spans []storage.Span

	mu     sync.Mutex // guards below
	data   map[storage.ShareNum][][]byte
	budget storage.SlotBudget
}

// read reads one span of one share. A share that is not there is taken out
// of the answer.
func (r *slotRead) read(ctx context.Context, at path, span storage.Span) ([]byte, error) {
	var all []byte
	for int64(len(all)) < span.Len {
		buf := make([]byte, min(span.Len-int64(len(all)), maxBody))
		n, err := shareReader{r.c, at}.ReadAt(ctx, buf, span.Off+int64(len(all)))
		if errors.Is(err, storage.ErrNotFound) {
			r.mu.Lock()
			delete(r.data, at.num)
			r.mu.Unlock()
			return nil, nil
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		r.mu.Lock()
		spent := r.budget.Spend(int64(n))
		r.mu.Unlock()
		if spent != nil {
			return nil, spent
		}
		if all = append(all, buf[:n]...); err == io.EOF {
			break
		}
	}
	return all, nil
}

// TestAndWrite implements storage.Mutables. It goes out once: when the answer
// is lost, only the caller can tell whether to try again.
func (c *Client) TestAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, writes map[storage.ShareNum]storage.SlotWrite, spans []storage.Span) (*storage.SlotResult, error) {
	result, err := c.testAndWrite(ctx, si, we, ls, slotRequest{writes, spans})
	if err != nil {
		return nil, fmt.Errorf("writing slot %s: %w", si.Short(), err)
	}
	return result, nil
}

func (c *Client) testAndWrite(ctx context.Context, si storage.Index, we storage.WriteEnabler, ls storage.LeaseSecrets, m slotRequest) (*storage.SlotResult, error) {
	if err := storage.CheckSlotCall(we, m.writes, m.spans, math.MaxInt64); err != nil {
		return nil, err
	}
	if n := m.patches(); n > maxPatches {
		return nil, fmt.Errorf("%d writes, more than %d: %w", n, maxPatches, storage.ErrTooLarge)
	}
	enabler, _ := we.Reveal()
	req := request{
		method:  "POST",
		path:    path{res: resSlot, si: si},
		secrets: append(leaseSecrets(ls), secretValue{writeEnabler, redact.New(string(enabler[:]))}),
		message: m.pieces(),
		answer:  worstAnswer(m.spans) + maxAnswer,
		once:    true,
	}
	got := &slotAnswer{spans: m.spans}
	_, err := c.exchange(ctx, req, got, codeOK)
	if e, ok := errors.AsType[*StatusError](err); ok && e.Code == http.StatusUnauthorized {
		return nil, fmt.Errorf("%w: %w", storage.ErrBadWriteEnabler, err)
	}
	if err != nil {
		return nil, err
	}
	return &got.SlotResult, nil
}

// ReportCorruptSlot implements storage.Mutables. A reason longer than 32,757
// bytes is cut.
func (c *Client) ReportCorruptSlot(ctx context.Context, si storage.Index, num storage.ShareNum, reason string) error {
	return shareReader{c, path{res: resSlotShare, si: si, num: num}}.ReportCorrupt(ctx, reason)
}
