package webapi

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Limits of a connection. There is none for a whole request or answer: a
// transfer over Tor takes its time, and Config.Idle bounds silence.
const (
	headerTimeout = 30 * time.Second
	keepAlive     = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes
	grace         = 2 * time.Second
)

// Serve answers requests at l until ctx ends. Then operations in progress are
// cancelled; Serve closes l and returns when the last request is over.
func Serve(ctx context.Context, l net.Listener, h *Handler) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		// It would print the addresses of clients. Panics are logged by
		// Handler.
		ErrorLog: log.New(io.Discard, "", 0),
		Protocols: func() *http.Protocols {
			p := new(http.Protocols)
			p.SetHTTP1(true)
			return p
		}(),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if srv.Shutdown(last) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-stopped
	} else {
		srv.Close()
	}
	h.running.Wait()
	h.handles.close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
