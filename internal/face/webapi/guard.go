package webapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// setHeaders sets what every answer carries. Pages and stored content add to
// the policy.
func setHeaders(h http.Header) {
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
}

// guard refuses requests that a web page of somebody else has made the user's
// browser send. It trusts no cookie and no secret, only what browsers tell:
//
// Host: a page at a name that was pointed at this machine (DNS rebinding) is
// of the same origin as the gateway to the browser, but says its own name.
// Origin and Sec-Fetch-Site: all other pages. What sends neither is no
// browser, or one that navigates, and may pass: reading changes nothing, and
// writing sends Origin.
func (h *Handler) guard(r *http.Request) error {
	if !h.hostAllowed(r.Host) {
		cure := "http://localhost/"
		if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			if _, port, err := net.SplitHostPort(a.String()); err == nil {
				cure = "http://localhost:" + port + "/"
			}
		}
		return errorf(http.StatusForbidden, "This gateway does not answer to the name in the Host header: "+
			"that is how foreign web pages reach into a machine. Call it by its IP address or as %s, "+
			"or put the name into web.port in tahoe.cfg, as interface=NAME.", cure)
	}
	const cure = "To open this address yourself, copy it into the address bar."
	if origins, ok := r.Header["Origin"]; ok {
		if len(origins) != 1 || !sameHost(origins[0], r.Host) {
			return errorf(http.StatusForbidden, "A web page of another site, or one without a site, sent this request. %s", cure)
		}
	}
	if slices.ContainsFunc(r.Header["Sec-Fetch-Site"], func(s string) bool { return strings.EqualFold(s, "cross-site") }) {
		return errorf(http.StatusForbidden, "A web page of another site sent this request. %s", cure)
	}
	return nil
}

// hostAllowed reports whether a Host header names this gateway in a way that
// no foreign name server can bring about.
func (h *Handler) hostAllowed(hostPort string) bool {
	host := hostPort
	if name, _, err := net.SplitHostPort(hostPort); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost") ||
		slices.ContainsFunc(h.c.Hosts, func(s string) bool { return s != "" && strings.EqualFold(host, s) })
}

// sameHost reports whether an Origin header, or another absolute URL, is of
// the site that the Host header names.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Opaque != "" || u.User != nil {
		return false
	}
	switch u.Scheme {
	case "http":
		return sameHostPort(u.Host, host, "80")
	case "https": // the gateway behind somebody's TLS
		return sameHostPort(u.Host, host, "443")
	}
	return false
}

// sameHostPort compares hosts; a browser leaves the scheme's own port out.
func sameHostPort(a, b, port string) bool {
	a, b = strings.TrimSuffix(a, ":"+port), strings.TrimSuffix(b, ":"+port)
	return a != "" && strings.EqualFold(a, b)
}
