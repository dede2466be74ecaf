package mutable

import (
	"time"

	"tahoe-go/internal/format/ssk"
	"tahoe-go/internal/storage"
)

// Trace watches an operation. Any field may be nil. The functions are called
// from the operation's goroutines, several at once, some even after it has
// returned, and must not block.
type Trace struct {
	// Asked: a server answered a survey's question.
	Asked func(server string, err error, took time.Duration)
	// Found: these are the shares it holds, good or not.
	Found func(server string, nums []storage.ShareNum)
	// Surveyed: a survey has ended.
	Surveyed func(s Survey)
	// Encoded: so many bytes of contents have become shares.
	Encoded func(size int64, took time.Duration)
	// Wrote: a server took so many shares of the new version, or did not.
	Wrote func(server string, shares int, err error, took time.Duration)
	// Published: the new version is where it should be.
	Published func(v ssk.Version, placed int, took time.Duration)
	// Block: proven blocks of one share were fetched, from segment seg on.
	Block func(server string, num storage.ShareNum, seg int64, bytes int, took time.Duration)
	// Dropped: a share or its server is no longer used.
	Dropped func(server string, num storage.ShareNum, why error)
	// Older: v is read although a newer version exists, of which too few
	// shares, have, can be had.
	Older func(v, newer ssk.Version, have int)
}

// Survey is what a survey found, for people.
type Survey struct {
	Writing  bool // all servers were asked, to write
	Asked    int
	Answered int
	Versions []Seen // newest first
	Took     time.Duration
}

// Seen is a version and the distinct shares of it that were found.
type Seen struct {
	Version ssk.Version
	Shares  int
}

func (t *Trace) asked(server string, found []storage.ShareNum, err error, took time.Duration) {
	if t != nil && t.Asked != nil {
		t.Asked(server, err, took)
	}
	if t != nil && t.Found != nil && err == nil {
		t.Found(server, found)
	}
}

func (t *Trace) surveyed(s Survey) {
	if t != nil && t.Surveyed != nil {
		t.Surveyed(s)
	}
}

func (t *Trace) encoded(size int64, took time.Duration) {
	if t != nil && t.Encoded != nil {
		t.Encoded(size, took)
	}
}

func (t *Trace) wrote(server string, shares int, err error, took time.Duration) {
	if t != nil && t.Wrote != nil {
		t.Wrote(server, shares, err, took)
	}
}

func (t *Trace) published(v ssk.Version, placed int, took time.Duration) {
	if t != nil && t.Published != nil {
		t.Published(v, placed, took)
	}
}

func (t *Trace) block(server string, num storage.ShareNum, seg int64, bytes int, took time.Duration) {
	if t != nil && t.Block != nil {
		t.Block(server, num, seg, bytes, took)
	}
}

func (t *Trace) dropped(server string, num storage.ShareNum, why error) {
	if t != nil && t.Dropped != nil {
		t.Dropped(server, num, why)
	}
}

func (t *Trace) older(v, newer ssk.Version, have int) {
	if t != nil && t.Older != nil {
		t.Older(v, newer, have)
	}
}
