package storage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"tahoe-go/internal/storage"
)

// A no is told from a failure on the way, wrapped or not.
func TestAnswered(t *testing.T) {
	for _, err := range []error{storage.ErrRefused, fmt.Errorf("writing: %w", storage.ErrNoSpace), &storage.BadWriteEnablerError{}} {
		if !storage.Answered(err) {
			t.Errorf("%v is no answer", err)
		}
	}
	for _, err := range []error{errors.New("connection reset"), context.DeadlineExceeded, storage.ErrClosed} {
		if storage.Answered(err) {
			t.Errorf("%v is an answer", err)
		}
	}
}

func TestTold(t *testing.T) {
	reports := []storage.ServerReport{{ID: "v0-a", Name: "alice", Shares: []storage.ShareNum{1, 2}}, {ID: "v0-b", Err: storage.ErrNoSpace}}
	if got, want := storage.Told(reports), ": alice: 2 shares; v0-b: no space left"; got != want {
		t.Errorf("Told = %q, want %q", got, want)
	}
	if got, want := storage.Told(nil), "; no storage server is connected"; got != want {
		t.Errorf("Told = %q, want %q", got, want)
	}
}
