package grid

import (
	"time"

	"tahoe-go/internal/format/announce"
)

// certifiedUntil is until when the grid managers vouch for k. A server whose id
// is no key cannot be vouched for.
func (g *Grid) certifiedUntil(k Known) time.Time {
	if len(g.c.Managers) == 0 {
		return time.Time{}
	}
	key, err := announce.ParseKey(k.ID)
	if err != nil {
		return time.Time{}
	}
	return announce.CertifiedUntil(g.c.Managers, k.Certs, key)
}

// barred says why k is given no new shares now; "": it is.
func (k Known) barred(c *Config, now time.Time) string {
	switch {
	case len(c.Managers) == 0 || k.certified.After(now):
		return ""
	case len(k.Certs) == 0:
		return "it shows no certificate of a grid manager"
	case k.certified.IsZero():
		return "it shows no certificate that one of this node's grid managers has given it"
	}
	return "its certificate has expired, " + k.certified.UTC().Format("2006-01-02 15:04") + " UTC"
}
