package gbs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"tahoe-go/internal/network/tubcert"
)

// Serve answers HTTPS on l until ctx is over, then lets requests under way
// finish for the handler's Grace and returns nil. It closes l, not h: an
// upload may continue on another listener. Any other end is an error.
func Serve(ctx context.Context, l net.Listener, cert tubcert.Cert, h *Handler) error {
	cfg := &h.cfg
	limit := &connLimit{most: cfg.MaxConns}
	srv := &http.Server{
		Handler: h,
		// These bound the TLS handshake as well. Bodies have deadlines of
		// their own in the handler, since they may rightly take long.
		ReadHeaderTimeout: cfg.HeaderTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(complaints{cfg.Log}, "", 0),
		ConnState:         limit.changed,
		Protocols:         new(http.Protocols),
		// Else "OPTIONS *" is answered to anybody.
		DisableGeneralOptionsHandler: true,
	}
	srv.Protocols.SetHTTP1(true)
	srv.RegisterOnShutdown(limit.closeWaiting)
	conf := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert.TLS()},
		// Tickets would let a server's operator tell which circuits belong
		// to one client, and clients of this protocol never use them.
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // whole records from the start
	}
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Serve(tls.NewListener(l, conf)) }()

	select {
	case err := <-stopped:
		srv.Close()
		return fmt.Errorf("serving storage: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Grace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		srv.Close()
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving storage: %w", err)
	}
	return nil
}

// complaints receives what net/http has to say. Its lines name the client's
// address, so only their kind is passed on.
type complaints struct{ log *slog.Logger }

// Write takes one line.
func (c complaints) Write(line []byte) (int, error) {
	switch s := string(line); {
	case strings.HasPrefix(s, "http: TLS handshake error"):
		c.log.Debug("tls handshake failed")
	case strings.HasPrefix(s, "http: Accept error"):
		c.log.Warn("accepting storage connections", "err", strings.TrimSpace(s))
	default:
		c.log.Debug("http server complained")
	}
	return len(line), nil
}
