package webapi

import (
	"errors"
	"net/http"
	"strings"

	"tahoe-go/internal/file/blacklist"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
)

// What the operator's blacklist names may be seen in listings, linked and
// unlinked, but is neither read nor changed. All that opens an object comes
// through here, or through filestore, which asks the list too.

func (h *Handler) openMutable(c caps.Cap) (*mutable.File, error) {
	if err := h.c.Blacklist.Check(c); err != nil {
		return nil, err
	}
	return h.c.Mutable.Open(c)
}

func (h *Handler) openDirectory(c caps.Dir) (*directory.Directory, error) {
	if err := h.c.Blacklist.Check(c); err != nil {
		return nil, err
	}
	return h.c.Directories.Open(c)
}

// translateProhibited knows the errors of the blacklist. It returns nil for
// others.
func translateProhibited(err error) *httpError {
	if e, ok := errors.AsType[*blacklist.ProhibitedError](err); ok {
		return errorf(http.StatusForbidden, "Access Prohibited%s", colon(clean(e.Reason)))
	}
	if errors.Is(err, blacklist.ErrUnreadable) {
		return errorf(http.StatusInternalServerError, "The node's file access.blacklist cannot be read, so that nothing is handed out; its log says more.")
	}
	return nil
}

func colon(reason string) string {
	if reason == "" {
		return "."
	}
	return ": " + reason
}

// barred says in a listing that a child is prohibited; "": it is not.
func (h *Handler) barred(c caps.Cap) string {
	err := h.c.Blacklist.Check(c)
	if e, ok := errors.AsType[*blacklist.ProhibitedError](err); ok {
		return strings.TrimSuffix("prohibited"+colon(clean(e.Reason)), ".")
	}
	if err != nil {
		return "not handed out now"
	}
	return ""
}

// logProhibited notes that something prohibited was asked for.
func (h *Handler) logProhibited(err error) {
	if e, ok := errors.AsType[*blacklist.ProhibitedError](err); ok {
		h.c.Log.Info("access prohibited", "si", e.Index.Short(), "reason", clean(e.Reason))
	}
}
