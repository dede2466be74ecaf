package gbs

import (
	"time"

	"tahoe-go/internal/storage"
)

// cachedVersion is an encoded answer to GET version.
type cachedVersion struct {
	at   time.Time
	body []byte
}

// getVersion answers GET version. Peers ask every second, so the store (which
// asks the disk) is asked at most once in VersionAge.
func (c *call) getVersion() error {
	if err := c.noSecrets(); err != nil {
		return err
	}
	if err := checkAccept(c.r.Header); err != nil {
		return err
	}
	if err := c.bodyEnds(); err != nil {
		return err
	}
	h := c.h
	if body := h.freshVersion(); body != nil {
		return c.reply(codeOK, body)
	}
	select { // one asks, the others wait for the answer
	case h.versioning <- struct{}{}:
		defer func() { <-h.versioning }()
	case <-c.r.Context().Done():
		return c.r.Context().Err()
	}
	body := h.freshVersion()
	if body == nil {
		v, err := h.cfg.Server.Version(c.r.Context())
		if err != nil {
			return err
		}
		body = encode(&versionAnswer{v})
		h.version.Store(&cachedVersion{h.cfg.Now(), body})
	}
	return c.reply(codeOK, body)
}

func (h *Handler) freshVersion() []byte {
	v := h.version.Load()
	if v == nil {
		return nil
	}
	if age := h.cfg.Now().Sub(v.at); age < 0 || age >= h.cfg.VersionAge {
		return nil
	}
	return v.body
}

// putLease answers PUT lease/SI.
func (c *call) putLease() error {
	sec, err := parseSecrets(c.r.Header, renewSecret, cancelSecret)
	if err != nil {
		return err
	}
	if err := c.bodyEnds(); err != nil {
		return err
	}
	ls := storage.LeaseSecrets{Renew: sec[renewSecret], Cancel: sec[cancelSecret]}
	if err := c.h.cfg.Server.AddLease(c.r.Context(), c.path.si, ls); err != nil {
		return err
	}
	c.header(codeEmpty, -1)
	return nil
}
