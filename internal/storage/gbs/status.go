package gbs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"

	"tahoe-go/internal/storage"
)

// The codes of success.
const (
	codeOK      = http.StatusOK
	codeCreated = http.StatusCreated
	codeEmpty   = http.StatusNoContent // lease taken; or a range that begins past the end
	codePartial = http.StatusPartialContent
)

// refusal is an answer other than success: a code and a sentence for the
// person at the other end, which never quotes what the client sent.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

var (
	errAuthorization  = &refusal{http.StatusUnauthorized, "the Authorization header is missing or names no service here"}
	errNotText        = &refusal{http.StatusBadRequest, "the Authorization header is not UTF-8"}
	errUploadSecret   = &refusal{http.StatusUnauthorized, "another upload secret holds this share"}
	errWriteEnabler   = &refusal{http.StatusUnauthorized, "another write enabler holds this slot"}
	errSecrets        = &refusal{http.StatusBadRequest, "the X-Tahoe-Authorization headers are not exactly those this call needs"}
	errNoRoute        = &refusal{http.StatusNotFound, "no such resource"}
	errNoShare        = &refusal{http.StatusNotFound, "no such share"}
	errNoUpload       = &refusal{http.StatusNotFound, "no such upload in progress"}
	errMethod         = &refusal{http.StatusMethodNotAllowed, "this method does not apply here"}
	errComplete       = &refusal{http.StatusMethodNotAllowed, "the share is complete and cannot be aborted"}
	errNotAcceptable  = &refusal{http.StatusNotAcceptable, "only application/cbor can be had here"}
	errMediaType      = &refusal{http.StatusUnsupportedMediaType, "the body must be application/cbor"}
	errBodyTooLarge   = &refusal{http.StatusRequestEntityTooLarge, "the body is larger than this call allows"}
	errBeyondShare    = &refusal{http.StatusRequestEntityTooLarge, "the range goes beyond the size that was allocated"}
	errSlotTooLarge   = &refusal{http.StatusRequestEntityTooLarge, "a share, or the answer, would become too large"}
	errSchema         = &refusal{http.StatusBadRequest, "the body is not the CBOR message this call needs"}
	errBodyLength     = &refusal{http.StatusBadRequest, "the body's length differs from the Content-Range"}
	errBodyCut        = &refusal{http.StatusBadRequest, "the body ended early or came too slowly"}
	errRange          = &refusal{http.StatusRequestedRangeNotSatisfiable, "one closed range of bytes is needed"}
	errEmptyRange     = &refusal{codeEmpty, ""}
	errConflict       = &refusal{http.StatusConflict, "the bytes differ from those written before"}
	errFragmented     = &refusal{http.StatusConflict, "the upload is in too many separate pieces"}
	errNoSpace        = &refusal{http.StatusInsufficientStorage, "no space left"}
	errInternal       = &refusal{http.StatusInternalServerError, "the server could not do this; its log says why"}
	errBusy           = &refusal{http.StatusServiceUnavailable, "too many large writes at once; try again"}
	errShuttingDown   = &refusal{http.StatusServiceUnavailable, "the server is stopping"}
	errClientWentAway = &refusal{499, "the client went away"} // nobody reads it
)

// refusalFor turns an error of the store, or of this package, into an answer.
func refusalFor(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return errNoShare
	case errors.Is(err, storage.ErrBadWriteEnabler):
		return errWriteEnabler
	case errors.Is(err, storage.ErrConflict):
		return errConflict
	case errors.Is(err, storage.ErrTooLarge):
		return errBeyondShare
	case errors.Is(err, storage.ErrFragmented):
		return errFragmented
	case errors.Is(err, storage.ErrClosed):
		return errNoUpload
	case errors.Is(err, storage.ErrNoSpace), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errNoSpace
	case errors.Is(err, context.Canceled):
		return errClientWentAway
	}
	return errInternal
}

// StatusError is an answer of a server that the call has no use for. Where a
// storage error fits the code, errors.Is finds it.
type StatusError struct {
	Code int
	// Excerpt is the beginning of the body when that was plain text, with
	// everything that might be a secret blotted out. The server chose it.
	Excerpt string
}

// Error is a sentence for people.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("the server answered %d (%s)", e.Code, e.meaning())
	if e.Excerpt != "" {
		s += fmt.Sprintf(": %q", e.Excerpt)
	}
	return s
}

func (e *StatusError) meaning() string {
	switch e.Code {
	case http.StatusUnauthorized:
		return "it does not take our swissnum or secret"
	case http.StatusNotFound:
		return "it has no such share"
	case http.StatusConflict:
		return "the bytes differ from those it was sent before"
	case http.StatusInsufficientStorage:
		return "it is full"
	}
	if t := http.StatusText(e.Code); t != "" {
		return strings.ToLower(t)
	}
	return "a code without a meaning here"
}

// Is makes a considered no a storage.ErrRefused. It is none when a server is
// stopping or has forgotten an upload.
func (e *StatusError) Is(target error) bool {
	return target == storage.ErrRefused && e.Code != http.StatusServiceUnavailable && e.Code != http.StatusNotFound
}

// Unwrap returns the storage error that the code stands for, or nil.
func (e *StatusError) Unwrap() error {
	switch e.Code {
	case http.StatusNotFound:
		return storage.ErrNotFound
	case http.StatusConflict:
		return storage.ErrConflict
	case http.StatusRequestEntityTooLarge:
		return storage.ErrTooLarge
	case http.StatusInsufficientStorage:
		return storage.ErrNoSpace
	}
	return nil
}

// beyondEnd reports whether a server says that a range begins past the end of
// the share: 204 by the protocol, 416 by HTTP.
func beyondEnd(code int) bool {
	return code == codeEmpty || code == http.StatusRequestedRangeNotSatisfiable
}

// refusedAllocation reports whether a server declines shares instead of
// leaving their numbers out of its answer.
func refusedAllocation(code int) bool { return code == http.StatusInsufficientStorage }

// nothingToAbort reports whether an upload is over, whoever ended it.
func nothingToAbort(code int) bool {
	return code == http.StatusNotFound || code == http.StatusMethodNotAllowed
}
