package gbs

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

// HandlerConfig says what a Handler serves and how patient it is. Zero fields
// take the value named.
type HandlerConfig struct {
	Server   storage.Server // needed
	Swissnum redact.Secret  // needed; whoever knows it may use the service
	Log      *slog.Logger   // nil: discard. Never gets addresses or secrets
	Now      func() time.Time

	UploadIdle time.Duration // an upload without a write for this long is given up; 0: 30 min, as the reference
	MaxUploads int           // shares being received at once, others are refused; 0: 2048
	VersionAge time.Duration // /version may be this old, so that polling is cheap; 0: 1 s
	Buffers    int64         // bytes for share data on its way; 0: 64 MiB. Beyond it transfers go on with small buffers

	// A write to a slot is in memory while it is done, so each is bounded, and
	// so is what all have together; beyond it they are answered 503. The
	// reference's limit is 2^48, as it keeps them on disk.
	MaxSlotBody int64 // bytes; 0: 256 MiB, which is what a file of 750 MB needs at 3-of-10
	SlotMemory  int64 // bytes; 0: 512 MiB, of which nothing is used until it comes. Answers may have as much again

	// A body, or an answer, must move: each piece of up to 256 KiB gets Stall
	// plus its length at MinRate.
	Stall   time.Duration // 0: 60 s
	MinRate int64         // bytes per second; 0: 1 KiB

	// For Serve.
	HeaderTimeout time.Duration // TLS handshake, and again request header; 0: 10 s. Behind Tor use 60 s
	IdleTimeout   time.Duration // kept-alive connection without a request; 0: 120 s
	MaxConns      int           // connections; beyond it the longest idle one is closed for a new one; 0: 2048
	Grace         time.Duration // for requests under way when serving ends; 0: 10 s
}

// Handler serves a storage.Server over HTTP. It is an http.Handler and may be
// served on several listeners at once.
type Handler struct {
	cfg     HandlerConfig
	auth    [sha256.Size]byte // of the whole Authorization header
	uploads *uploads
	buffers *buffers

	slotBodies, slotAnswers budget
	bodies                  bodies

	version    atomic.Pointer[cachedVersion]
	versioning chan struct{} // one slot: who fetches the version
}

var _ http.Handler = (*Handler)(nil)

// NewHandler fills in cfg and panics when Server or Swissnum is missing. Call
// Close when done.
func NewHandler(cfg HandlerConfig) *Handler {
	if cfg.Server == nil || cfg.Swissnum.Reveal() == "" {
		panic("gbs: internal error: HandlerConfig needs Server and Swissnum")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	setDefault(&cfg.UploadIdle, 30*time.Minute)
	setDefault(&cfg.MaxUploads, 2048)
	setDefault(&cfg.VersionAge, time.Second)
	setDefault(&cfg.Buffers, 64<<20)
	setDefault(&cfg.MaxSlotBody, 256<<20)
	setDefault(&cfg.SlotMemory, 512<<20)
	setDefault(&cfg.Stall, 60*time.Second)
	setDefault(&cfg.MinRate, 1<<10)
	setDefault(&cfg.HeaderTimeout, 10*time.Second)
	setDefault(&cfg.IdleTimeout, 120*time.Second)
	setDefault(&cfg.MaxConns, 2048)
	setDefault(&cfg.Grace, 10*time.Second)
	return &Handler{
		cfg:        cfg,
		auth:       sha256.Sum256([]byte(authorization(cfg.Swissnum))),
		uploads:    newUploads(cfg.Log, cfg.UploadIdle, cfg.MaxUploads),
		buffers:    newBuffers(cfg.Buffers),
		versioning: make(chan struct{}, 1),

		slotBodies:  budget{left: cfg.SlotMemory},
		slotAnswers: budget{left: cfg.SlotMemory},
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Close aborts all uploads in progress; later ones are refused.
func (h *Handler) Close(ctx context.Context) error { return h.uploads.close(ctx) }

// ServeHTTP checks who asks before it looks at what is asked, and both before
// any byte of the body is read.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{h: h, w: w, r: r, rc: http.NewResponseController(w)}
	defer c.recover()
	// The server's clock is nobody's business: it can tell an onion service.
	w.Header()["Date"] = nil
	if err := c.serve(); err != nil {
		c.refuse(err)
	}
	c.leaveBody()
}

// call is one request being answered.
type call struct {
	h    *Handler
	w    http.ResponseWriter
	r    *http.Request
	rc   *http.ResponseController
	path path

	bodyDone bool // the request body was read to its end
	answered bool // the response header is out
}

type route struct {
	method string
	res    resource
}

func (c *call) serve() error {
	if err := checkAuthorization(c.r.Header, c.h.auth); err != nil {
		return err
	}
	var ok bool
	if c.path, ok = parsePath(c.r.URL.Path); !ok {
		return errNoRoute
	}
	switch (route{c.r.Method, c.path.res}) {
	case route{"GET", resVersion}:
		return c.getVersion()
	case route{"PUT", resLease}:
		return c.putLease()
	case route{"POST", resIndex}:
		return c.allocate()
	case route{"GET", resShares}:
		return c.listShares()
	case route{"GET", resShare}, route{"GET", resSlotShare}:
		return c.readShare()
	case route{"PATCH", resShare}:
		return c.writeShare()
	case route{"PUT", resAbort}:
		return c.abortUpload()
	case route{"POST", resCorrupt}, route{"POST", resSlotCorrupt}:
		return c.reportCorrupt()
	case route{"POST", resSlot}:
		return c.testAndWrite()
	case route{"GET", resSlotShares}:
		return c.listSlot()
	}
	c.w.Header().Set("Allow", methods[c.path.res])
	return errMethod
}

// refuse answers with an error, and logs those that are ours.
func (c *call) refuse(err error) {
	ref := refusalFor(err)
	if ref == errInternal || ref == errNoSpace {
		c.h.cfg.Log.Warn("storage request failed", "method", c.r.Method, "si", c.path.si.Short(), "err", err)
	}
	if c.answered || ref == errClientWentAway {
		// Half an answer must not look like a whole one.
		panic(http.ErrAbortHandler)
	}
	hd := c.w.Header()
	hd.Del("Content-Length")
	hd.Del("Content-Range")
	if ref.text != "" {
		hd.Set("Content-Type", "text/plain; charset=utf-8")
	}
	if c.r.ContentLength < 0 || c.r.ContentLength > smallChunk {
		hd.Set("Connection", "close") // what is left of the body is not worth reading
	}
	c.leaveBody()
	c.allowWrite(0)
	c.w.WriteHeader(ref.code)
	if ref.text != "" {
		io.WriteString(c.w, ref.text+"\n")
	}
}

// leaveBody bounds how long net/http may spend on a body that nobody wants:
// it reads some of it, for the connection's sake, before and after answering.
func (c *call) leaveBody() {
	if !c.bodyDone && c.r.ContentLength != 0 {
		c.rc.SetReadDeadline(time.Now().Add(bodyLinger))
	}
}

const bodyLinger = 2 * time.Second

// recover keeps the server alive and the client's address out of the log;
// net/http would print both.
func (c *call) recover() {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		c.h.cfg.Log.Error("panic in a storage request", "method", c.r.Method, "panic", v, "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

// readMessage reads a whole CBOR body of at most limit bytes.
func (c *call) readMessage(m message, limit int64) error {
	if err := checkContentType(c.r.Header); err != nil {
		return err
	}
	if c.r.ContentLength > limit {
		return errBodyTooLarge
	}
	c.allowRead(limit)
	body, err := io.ReadAll(io.LimitReader(c.r.Body, limit+1))
	if err != nil {
		return errBodyCut
	}
	if int64(len(body)) > limit {
		return errBodyTooLarge
	}
	c.bodyRead()
	if err := decode(body, m); err != nil {
		return errSchema
	}
	return nil
}

// bodyEnds reads the end of the body: of a call that has none, or after all
// that was announced. net/http looks for a client that leaves only from then
// on, so this comes before anything that may block.
func (c *call) bodyEnds() error {
	if c.r.ContentLength != 0 {
		c.allowRead(1)
		switch n, err := io.ReadFull(c.r.Body, make([]byte, 1)); {
		case n > 0:
			return errBodyTooLarge
		case err != io.EOF:
			return errBodyCut
		}
	}
	c.bodyRead()
	return nil
}

// allowRead sets by when the next n bytes of the body must be here.
func (c *call) allowRead(n int64) { c.rc.SetReadDeadline(time.Now().Add(c.h.patience(n))) }

// bodyRead lifts the deadline, which would otherwise end the request.
func (c *call) bodyRead() {
	c.bodyDone = true
	c.rc.SetReadDeadline(time.Time{})
}

func (h *Handler) patience(n int64) time.Duration {
	return h.cfg.Stall + time.Duration(n)*time.Second/time.Duration(h.cfg.MinRate)
}

// reply sends a CBOR message.
func (c *call) reply(code int, body []byte) error {
	c.w.Header().Set("Content-Type", cborType)
	c.header(code, int64(len(body)))
	c.w.Write(body)
	return nil
}

// header sends the response header; length is -1 when not known yet.
func (c *call) header(code int, length int64) {
	if length >= 0 {
		c.w.Header().Set("Content-Length", formatInt(length))
	}
	c.allowWrite(max(length, 0))
	c.answered = true
	c.w.WriteHeader(code)
}

// allowWrite sets by when the next piece of the answer must be gone.
func (c *call) allowWrite(n int64) {
	c.rc.SetWriteDeadline(time.Now().Add(c.h.patience(min(n, chunk))))
}
