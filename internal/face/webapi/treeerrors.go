package webapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/filestore"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/format/ssk"
)

// errNoChild is the answer when a name is not there.
func errNoChild(name string) *httpError {
	return errorf(http.StatusNotFound, "No such child: %q.", clean(name))
}

// errNotDir: something below a file was asked for.
func errNotDir(name string) *httpError {
	return errorf(http.StatusBadRequest, "Files have no children, so none named %q.", clean(name))
}

// errInTheWay: a directory was to be made where a file is.
func errInTheWay(name string) *httpError {
	return errorf(http.StatusConflict, "A file is in the way: there can be no directory at or below %q.", clean(name))
}

// errTaken: there is something that must not be replaced.
func errTaken(name string) *httpError {
	return errorf(http.StatusConflict, "There is already a child named %q, and it was not to be replaced.", clean(name))
}

// childOf is the name that an error is about, as its caller gave it; "".
func childOf(err error) string {
	if e, ok := errors.AsType[*directory.ChildError](err); ok {
		return e.Name
	}
	if e, ok := errors.AsType[*filestore.PathError](err); ok && e.At >= 0 && e.At < len(e.Path) {
		return e.Path[e.At]
	}
	return ""
}

// placeOf is the path to what an error is about, "" if it is the root or not
// known.
func placeOf(err error) string {
	if e, ok := errors.AsType[*filestore.PathError](err); ok && e.At >= 0 && e.At < len(e.Path) {
		return strings.Join(e.Path[:e.At+1], "/")
	}
	return ""
}

// translateTree knows the errors of mutable files and directories. It returns
// nil for others.
func translateTree(err error) *httpError {
	name := childOf(err)
	switch {
	case errors.Is(err, dirtable.ErrNoChild):
		return errNoChild(name)
	case errors.Is(err, dirtable.ErrExists):
		return errTaken(name)
	case errors.Is(err, filestore.ErrNotDirectory):
		return errInTheWay(name)
	case errors.Is(err, filestore.ErrEmptyName):
		return errorf(http.StatusBadRequest, "The path has an empty child name.")
	case errors.Is(err, dirtable.ErrName):
		return errorf(http.StatusBadRequest, "%q cannot be the name of a child: names are UTF-8, not empty, and of at most %d bytes.", clean(name), dirtable.MaxName)
	case errors.Is(err, dirtable.ErrWrongType):
		return errorf(http.StatusBadRequest, "The child %q is of another type.", clean(name))
	case errors.Is(err, dirtable.ErrNotImmutable):
		return errorf(http.StatusBadRequest, "In an immutable directory there can be only immutable children; %q is not known to be one.", clean(name))
	case errors.Is(err, dirtable.ErrNotStorable):
		return errorf(http.StatusBadRequest, "The cap cannot be made a child: it is not valid, or of an unknown kind that does not say whether it grants writing. "+
			"Of such a one give the cap for reading as ro_uri, or with ro. or imm. before it.")
	case errors.Is(err, directory.ErrNotReadable):
		return errorf(http.StatusBadRequest, "The cap grants checking the directory, not reading it.")
	case errors.Is(err, directory.ErrTooLarge):
		return errorf(http.StatusRequestEntityTooLarge, "The directory is larger than this gateway reads.")
	case errors.Is(err, dirtable.ErrSyntax):
		return errorf(http.StatusInternalServerError, "What is stored is no directory: %v.", dirtable.ErrSyntax)
	}
	return translateMutable(err)
}

func translateMutable(err error) *httpError {
	if _, ok := errors.AsType[*mutable.UncoordinatedError](err); ok {
		return errorf(http.StatusConflict, "Somebody else has changed it at the same time, and nothing says whose change has come through: look at it, then try again.")
	}
	if e, ok := errors.AsType[*mutable.UnrecoverableError](err); ok {
		text := "It cannot be read now: "
		switch {
		case len(e.Reports) == 0:
			text += "no storage server is connected."
		case e.Servers == 0 && e.Corrupt == 0:
			text += "no server has answered."
		case e.Shares == 0:
			text += fmt.Sprintf("none of the %d servers that answered has a good share of it.", e.Servers)
		default:
			text += fmt.Sprintf("%d of the %d shares needed were found.", e.Shares, e.Need)
		}
		if e.Corrupt > 0 {
			text += fmt.Sprintf(" %d more are damaged.", e.Corrupt)
		}
		return &httpError{status: http.StatusGone, text: text, details: reports(e.Reports)}
	}
	if e, ok := errors.AsType[*mutable.NotEnoughServersError](err); ok {
		text := fmt.Sprintf("It was not stored: servers took %d of its %d shares, and %d are needed to read it.", e.Placed, e.N, e.Want)
		if len(e.Reports) == 0 {
			text = "It was not stored: no storage server is connected. The start page shows why."
		}
		return &httpError{status: http.StatusInternalServerError, text: text, details: reports(e.Reports)}
	}
	if e, ok := errors.AsType[*mutable.NewerError](err); ok {
		return newerError(e)
	}
	if errors.Is(err, ssk.ErrUnsupported) {
		return errSDMF
	}
	if errors.Is(err, mutable.ErrNotWritable) {
		return translate(caps.ErrNotWritable)
	}
	return nil
}

// errSDMF: an SDMF file is encoded and signed as one piece.
var errSDMF = errorf(http.StatusRequestEntityTooLarge, "The file is too large for its kind: SDMF files have at most %d MiB. With format=MDMF larger ones can be made.", ssk.MaxSegment>>20)

// tooFew reports whether an error says that more servers might help.
func tooFew(err error) bool {
	_, mut := errors.AsType[*mutable.UnrecoverableError](err)
	_, imm := errors.AsType[*immutable.NotEnoughSharesError](err) // of an immutable directory
	return mut || imm
}
