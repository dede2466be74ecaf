package gbs

import (
	"testing"
	"time"
)

// Clients open connections that they then have no use for. A server that
// stops does not wait for their first request.
func TestStopDoesNotWaitForUnusedConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, HandlerConfig{})
		for range 3 {
			r.dialTLS(t)
		}
		start := time.Now()
		r.stop()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
}
