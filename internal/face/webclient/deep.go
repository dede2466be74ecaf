package webclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxLine bounds a line of a stream, in bytes.
const maxLine = 4 << 20

// StreamError is why a gateway could not walk all of a directory, told when
// part of it had been.
type StreamError struct{ Sentence string }

// Error gives the sentence.
func (e *StreamError) Error() string { return e.Sentence }

// Manifest has the gateway walk a directory and everything below it, and
// calls f with each line of JSON as it comes: an object each, and one of
// figures at the end. A failure in the middle is a *StreamError.
func (c *Client) Manifest(ctx context.Context, dir Place, f func(line []byte) error) error {
	return c.stream(ctx, args{}.with("t", "stream-manifest").after(dir.url()), f)
}

// DeepCheck does the same, and has each object checked.
func (c *Client) DeepCheck(ctx context.Context, dir Place, o CheckOptions, f func(line []byte) error) error {
	return c.stream(ctx, o.args("stream-deep-check").after(dir.url()), f)
}

func (c *Client) stream(ctx context.Context, path string, f func(line []byte) error) error {
	resp, err := c.post(ctx, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		line := lines.Bytes()
		if sentence, failed := bytes.CutPrefix(line, []byte("ERROR:")); failed {
			return &StreamError{printable(string(bytes.TrimSpace(sentence)))}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := f(line); err != nil {
			return err
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("a line of the gateway's answer has more than %d bytes", maxLine)
	} else if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil {
			err = errors.New("it broke off; the node's log may say why")
		}
		return unreachable(ctx, err)
	}
	return nil
}

// CheckOptions tune a check.
type CheckOptions struct {
	Verify   bool // read and prove every share
	Repair   bool // and make good what is missing
	AddLease bool
}

func (o CheckOptions) args(what string) args {
	return args{}.with("t", what).flag("verify", o.Verify).flag("repair", o.Repair).flag("add-lease", o.AddLease)
}

// Check asks the servers how one object is, and returns the gateway's JSON:
// a Checked, or with Repair a Repaired.
func (c *Client) Check(ctx context.Context, at Place, o CheckOptions) (json.RawMessage, error) {
	resp, err := c.post(ctx, o.args("check").with("output", "JSON").after(at.url()), nil)
	if err != nil {
		return nil, err
	}
	b, err := readAll(ctx, resp, maxJSON)
	if err == nil && !json.Valid(b) {
		err = errors.New("the gateway's answer to a check is not JSON")
	}
	return json.RawMessage(bytes.TrimSpace(b)), err
}

// Checked is the result of a check.
type Checked struct {
	SI      string `json:"storage-index"` // empty: the object is its own cap
	Summary string `json:"summary"`
	Results struct {
		Healthy     bool `json:"healthy"`
		Recoverable bool `json:"recoverable"`
		Good        *int `json:"count-shares-good"`
		Needed      *int `json:"count-shares-needed"`
		Expected    *int `json:"count-shares-expected"`
		Wrong       *int `json:"count-wrong-shares"`
		// Corrupt are [server, storage index, share number].
		Corrupt [][]any `json:"list-corrupt-shares"`
	} `json:"results"`
}

// Repaired is the result of a check with repair.
type Repaired struct {
	SI        string  `json:"storage-index"`
	Before    Checked `json:"pre-repair-results"`
	After     Checked `json:"post-repair-results"`
	Attempted bool    `json:"repair-attempted"`
	Succeeded bool    `json:"repair-successful"`
}

// DeepStats has the gateway walk a directory and everything below it, and
// returns its figures as JSON. progress is called with what is known so far;
// it may be nil. When ctx ends, so does the walk.
func (c *Client) DeepStats(ctx context.Context, dir Place, progress func(json.RawMessage)) (json.RawMessage, error) {
	var id [16]byte
	rand.Read(id[:])
	handle := fmt.Sprintf("%x", id)
	if err := c.startDeep(ctx, args{}.with("t", "start-deep-stats").with("ophandle", handle).after(dir.url())); err != nil {
		return nil, err
	}
	pause := 50 * time.Millisecond
	for {
		stats, done, err := c.deepResult(ctx, handle)
		if err != nil {
			if ctx.Err() != nil {
				c.cancelDeep(ctx, handle)
			}
			return nil, err
		}
		if done {
			return stats, nil
		}
		if progress != nil {
			progress(stats)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(pause*3/2, 10*time.Second)
	}
}

// startDeep starts an operation. The answer leads to its state.
func (c *Client) startDeep(ctx context.Context, path string) error {
	resp, err := c.post(ctx, path, nil)
	if e, ok := errors.AsType[*Error](err); ok && (e.Status == http.StatusFound || e.Status == http.StatusSeeOther) {
		return nil
	}
	if err != nil {
		return err
	}
	discard(resp)
	return nil
}

// deepResult asks for the state of an operation, which the gateway may forget
// once it has told its end.
func (c *Client) deepResult(ctx context.Context, handle string) (stats json.RawMessage, done bool, err error) {
	if err := c.getJSON(ctx, "/operations/"+handle+"?t=status&output=JSON&release-after-complete=true", &stats); err != nil {
		return nil, false, err
	}
	var state struct{ Finished bool }
	if err := json.Unmarshal(stats, &state); err != nil {
		return nil, false, fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return stats, state.Finished, nil
}

// cancelDeep ends an operation that nobody waits for any more.
func (c *Client) cancelDeep(ctx context.Context, handle string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if resp, err := c.post(ctx, "/operations/"+handle+"?t=cancel", nil); err == nil {
		discard(resp)
	}
}
