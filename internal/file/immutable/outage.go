package immutable

import (
	"context"
	"errors"
	"sync"
	"time"

	"tahoe-go/internal/storage"
)

// maxResets bounds how often bytes taken in a failed attempt buy more time:
// servers that always fail in mid-share must not keep an upload going for ever.
const maxResets = 10

// outlast tries until the file is stored, or for Patience.Outage after the
// last moment that servers took any of it. Shares that are complete are found
// again and not sent twice.
func (u *upload) outlast(ctx context.Context) (*Result, error) {
	lastGood := time.Now()
	wait := false
	resets := 0
	for {
		res, err := u.attempt(ctx)
		if err == nil {
			return res, nil
		}
		if u.took.Swap(false) && resets < maxResets {
			resets++
			lastGood = time.Now()
		}
		lost := lostServers(err)
		wait = wait || lost && mayPass(err)
		if ctx.Err() != nil || !wait || !lost || time.Since(lastGood) >= u.c.Patience.Outage {
			return nil, err
		}
		u.c.Log.Info("upload waits for storage servers to come back", "si", u.si.Short(), "err", err)
		pause(ctx, u.c.Patience.Hedge)
		u.abortAgain(ctx)
	}
}

func lostServers(err error) bool {
	_, unhappy := errors.AsType[*UnhappyError](err)
	return unhappy || errors.Is(err, ErrNoServers)
}

// mayPass reports whether servers are missing because they were not heard, as
// opposed to having said no.
func mayPass(err error) bool {
	e, ok := errors.AsType[*UnhappyError](err)
	if !ok {
		return false // not one was there to begin with
	}
	for _, s := range e.Servers {
		if s.Err != nil && s.Err != errRefused && (unheard(s.Err) || forgotten(s.Err)) {
			return true
		}
	}
	return false
}

// unheard reports whether err may be the network's: not a server's answer.
func unheard(err error) bool { return !storage.Answered(err) && !forgotten(err) }

// forgotten reports whether a server no longer knows of the upload: it was
// restarted, or has waited too long.
func forgotten(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrClosed)
}

// aborts are shares that servers were told to forget, or have yet to be told:
// until they heard it they refuse the same share to everyone.
type aborts struct {
	wg      sync.WaitGroup
	mu      sync.Mutex // guards below
	pending []writer   // not heard yet
}

// abortOne tells a server in the background to forget a share.
func (u *sending) abortOne(ctx context.Context, w writer) {
	u.aborts.wg.Go(func() {
		ctx, cancel := background(ctx, u.c.Patience.Ask)
		defer cancel()
		err := w.to.Abort(ctx)
		if err == nil {
			return
		}
		u.c.Log.Debug("abort not heard", "server", w.peer.ID, "si", u.si.Short(), "shnum", w.num, "err", err)
		u.aborts.mu.Lock()
		defer u.aborts.mu.Unlock()
		u.aborts.pending = append(u.aborts.pending, w)
	})
}

// abortAgain tells those that have not heard it, and waits for all.
func (u *sending) abortAgain(ctx context.Context) {
	u.aborts.wg.Wait()
	again := u.aborts.pending
	u.aborts.pending = nil
	for _, w := range again {
		u.abortOne(ctx, w)
	}
	u.aborts.wg.Wait()
}
