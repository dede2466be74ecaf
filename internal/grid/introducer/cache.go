package introducer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/kit/durable"
)

// CacheFor is how long the cache keeps what its introducer no longer says.
const CacheFor = 60 * 24 * time.Hour

// saveEvery is how often the cache is written for news, which an introducer may
// have without end.
const saveEvery = 10 * time.Second

// maxCache bounds the file, in bytes: all that may be known, with the times.
const maxCache = maxKnownBytes + maxKnown*64

// CacheFile is the name of an introducer's cache in private/, as the reference
// has it.
func CacheFile(petname string) string { return "introducer_" + petname + "_cache.yaml" }

// loadCache believes the cache and tells the Sink. The file is the node's own
// and holds what had a good signature; it has none itself.
func (c *Client) loadCache() {
	c.hearMu.Lock()
	defer c.hearMu.Unlock()
	if c.conf.Private == nil || c.conf.Cache == "" {
		return
	}
	text, err := readFile(c.conf.Private, c.conf.Cache, maxCache)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var hs []*heard
	var bad []error
	if err == nil {
		hs, bad, err = parseCache(text, c.conf.Now())
	}
	if err != nil {
		c.mu.Lock()
		c.cacheErr = fmt.Errorf("reading the cache %s: %w", c.conf.Cache, err)
		c.mu.Unlock()
		c.conf.Log.Warn("the cache of announcements cannot be used", "file", c.conf.Cache, "err", err)
		return
	}
	for _, err := range bad {
		c.drop(Event{Why: err.Error()})
	}
	for _, h := range hs {
		c.recall(h)
	}
}

// recall believes an entry of the cache, unless it is out of date.
func (c *Client) recall(h *heard) {
	id := Event{Key: h.ann.Key.String(), Service: h.ann.Service, Nickname: h.ann.Nickname}
	age := c.conf.Now().Sub(h.at)
	server, err := h.ann.Server()
	switch {
	case err != nil:
	case age > CacheFor:
		err = fmt.Errorf("in the cache, and the introducer has not said it for %d days", int(age.Hours()/24))
	case c.known[h.ann.Key] != nil:
		err = h.ann.Replaces(c.known[h.ann.Key].ann)
	}
	if err == nil {
		err = c.learn(h)
	}
	if err != nil {
		id.Why = err.Error()
		c.drop(id)
		return
	}
	c.conf.Sink.Announced(server)
}

// parseCache reads a cache, ours or the reference's, which has no times. Bad
// entries are left out.
func parseCache(text []byte, now time.Time) (hs []*heard, bad []error, err error) {
	var list []yaml.Node
	if err := yaml.Unmarshal(text, &list); err != nil {
		return nil, nil, fmt.Errorf("%w: not a list in YAML", announce.ErrSyntax) // its error might show a swissnum
	}
	if len(list) > 2*maxKnown {
		return nil, nil, fmt.Errorf("%w: %d entries", announce.ErrSyntax, len(list))
	}
	for i := range list {
		var entry map[string]any
		if list[i].Decode(&entry) != nil {
			bad = append(bad, fmt.Errorf("entry %d of the cache: %w", i, announce.ErrSyntax))
			continue
		}
		ann, err := announce.ParseEntry(entry)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		h := &heard{ann: ann, cached: true, at: now, why: "from the cache; its signature was checked when it was heard"}
		switch at := entry["heard"].(type) {
		case string:
			if t, err := time.Parse(time.RFC3339, at); err == nil && t.Before(now) {
				h.at = t
			}
		case time.Time:
			if at.Before(now) {
				h.at = at
			}
		}
		hs = append(hs, h)
	}
	return hs, bad, nil
}

// entryYAML returns an announcement as the one entry of a list, or nil if it
// would not be read back.
func entryYAML(ann *announce.Announcement) []byte {
	text, err := yaml.Marshal([]any{ann.Entry()})
	if err != nil || !bytes.HasPrefix(text, []byte("- ann:")) || !bytes.HasSuffix(text, []byte("\n")) {
		return nil
	}
	hs, _, err := parseCache(withTime(nil, text, time.Unix(0, 0)), time.Now())
	if err != nil || len(hs) != 1 || !errors.Is(hs[0].ann.Replaces(ann), announce.ErrDuplicate) {
		return nil
	}
	return text
}

// withTime appends an entry to a cache with the time it was heard, a key that
// the reference does not look at.
func withTime(to, entry []byte, at time.Time) []byte {
	to = append(to, entry...)
	return fmt.Appendf(to, "  heard: %q\n", at.UTC().Format(time.RFC3339))
}

// saveSoon writes the cache now, or a little later if it was just written.
// c.hearMu is held.
func (c *Client) saveSoon() {
	wait := saveEvery - time.Since(c.saved)
	switch {
	case wait <= 0 || c.saved.IsZero():
		c.saveCache()
	case c.saving == nil:
		c.saving = time.AfterFunc(wait, func() {
			c.hearMu.Lock()
			defer c.hearMu.Unlock()
			if c.saving != nil { // else it was saved, or is closed
				c.saveCache()
			}
		})
	}
}

// saveCache writes the cache. c.hearMu is held.
func (c *Client) saveCache() {
	c.saved = time.Now()
	if c.saving != nil {
		c.saving.Stop()
		c.saving = nil
	}
	if c.conf.Sink == nil || c.conf.Private == nil || c.conf.Cache == "" {
		return
	}
	var hs []heard
	c.mu.Lock()
	for _, h := range c.known {
		if h.live {
			h.at = c.conf.Now()
		}
		if h.yaml != nil {
			hs = append(hs, *h)
		}
	}
	c.mu.Unlock()
	if len(hs) == 0 {
		return // what could not be read is not lost for nothing
	}
	slices.SortFunc(hs, func(a, b heard) int { return cmp.Compare(a.ann.Key.String(), b.ann.Key.String()) })
	var text []byte
	for _, h := range hs {
		text = withTime(text, h.yaml, h.at)
	}
	err := durable.FS{Root: c.conf.Private}.WriteFile(c.conf.Cache, text, 0o600)
	if err != nil {
		err = fmt.Errorf("writing the cache %s: %w", c.conf.Cache, err)
		c.conf.Log.Warn("the cache of announcements could not be written", "err", err)
	}
	c.mu.Lock()
	c.cacheErr = err
	c.mu.Unlock()
}
