package introducer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/kit/version"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
)

// KeepFor is how long an announcement is remembered while its publisher is
// away. Only time in which the Server runs counts.
const KeepFor = 30 * 24 * time.Hour

// tick is how often absences are counted. A longer pause (of a clock that was
// set, or a machine that slept) counts as two ticks at most.
const tick = time.Hour

// MemoryFile is the usual name of a Server's memory.
const MemoryFile = "introducer-memory.json"

// Limits bound what peers can make a Server remember and do. A zero field is
// its default.
type Limits struct {
	Announcements int   // in all: 4096
	Bytes         int64 // of all announcements together: 16 MiB
	PerPublisher  int   // announcements of one connection: 64
	Subscribers   int   // in all: 8192
	PerSubscriber int   // subscriptions of one connection: 8
}

func (l *Limits) setDefaults() {
	for _, f := range []struct {
		field *int
		value int
	}{{&l.Announcements, 4096}, {&l.PerPublisher, 64}, {&l.Subscribers, 8192}, {&l.PerSubscriber, 8}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if l.Bytes == 0 {
		l.Bytes = 16 << 20
	}
}

// ServerConfig is what a Server is made of.
type ServerConfig struct {
	Tub      *foolscap.Tub // required
	Swissnum redact.Secret // the Server's name on the Tub; required
	Root     *os.Root      // where the memory is kept, usually private/; required
	File     string        // its name there: MemoryFile
	Limits   Limits
	Now      func() time.Time // time.Now
	Log      *slog.Logger     // nil: none
}

// index names an announcement.
type index struct {
	service string
	key     announce.Key
}

// entry is a remembered announcement.
type entry struct {
	signed announce.Signed
	ann    *announce.Announcement
	first  time.Time                   // when it came
	seen   time.Time                   // when its publisher was last known to be connected
	absent time.Duration               // how long its publisher has been away
	held   map[*foolscap.Conn]struct{} // connections that have published it
}

// Server is an introducer. Its methods may be called concurrently.
type Server struct {
	conf ServerConfig
	obj  *foolscap.Object
	furl furl.FURL

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	saveMu sync.Mutex // guards saved and the file
	saved  int64      // generation that is on disk

	mu         sync.Mutex // guards below
	closed     bool
	generation int64 // of entries
	entries    map[index]*entry
	bytes      int64
	publishers map[*foolscap.Conn]*publisher
	subs       map[string]map[*subscriber]struct{} // by service
	subCount   map[*foolscap.Conn]int
	subTotal   int
	counted    time.Time // when absences were last counted
	dropped    ring
	refused    ring
	saveErr    error
}

// NewServer reads the memory and registers the Server with the Tub. A memory
// that cannot be understood is put aside and reported; one of a later version
// is an error. Close the Server before the Tub.
func NewServer(c ServerConfig) (*Server, error) {
	if c.Tub == nil || c.Root == nil || c.Swissnum.IsZero() {
		return nil, errors.New("introducer: Tub, Root and Swissnum are required")
	}
	if c.File == "" {
		c.File = MemoryFile
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits.setDefaults()
	s := &Server{
		conf: c, entries: map[index]*entry{}, publishers: map[*foolscap.Conn]*publisher{},
		subs: map[string]map[*subscriber]struct{}{}, subCount: map[*foolscap.Conn]int{}, counted: c.Now(),
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("introducer: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.obj = &foolscap.Object{Iface: ifaceService, Methods: serverMethods, Self: s}
	s.furl = c.Tub.Register(c.Swissnum, s.obj)
	s.tasks.Go(s.run)
	return s, nil
}

// FURL is the Server's address, for introducers.yaml.
func (s *Server) FURL() furl.FURL { return s.furl }

// Close ends the service and writes the memory a last time.
func (s *Server) Close() error {
	s.conf.Tub.Unregister(s.obj)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.tasks.Wait()
	return s.save(s.count())
}

// run counts absences until Close.
func (s *Server) run() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
			if generation := s.count(); n%24 == 0 { // a crash makes absences a day shorter
				s.save(generation)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// count adds the time since the last count to the absences, drops what has
// been absent for too long, and returns the generation to save.
func (s *Server) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.conf.Now()
	for at, e := range s.entries {
		if len(e.held) > 0 {
			e.seen = now
			continue
		}
		from := s.counted
		if e.seen.After(from) {
			from = e.seen
		}
		e.absent += max(0, min(now.Sub(from), 2*tick))
		s.generation++
		if e.absent >= KeepFor {
			s.drop(at, e, now)
		}
	}
	s.counted = now
	return s.generation
}

// drop forgets an announcement, for everybody to see. s.mu is held.
func (s *Server) drop(at index, e *entry, now time.Time) {
	delete(s.entries, at)
	s.bytes -= e.size()
	why := fmt.Sprintf("its publisher has been away for %d days", int(e.absent.Hours()/24))
	s.dropped.add(Event{At: now, Key: at.key.String(), Service: at.service, Nickname: e.ann.Nickname, Why: why})
	s.conf.Log.Info("announcement dropped", "key", at.key.String(), "service", at.service, "nickname", e.ann.Nickname, "last_seen", e.seen, "reason", why)
}

func (e *entry) size() int64 { return int64(len(e.signed.Msg.Reveal())) }

var serverMethods = map[string]*foolscap.Method{
	"get_version": {Do: func(context.Context, *foolscap.Call) (any, error) {
		return banana.Dict{
			{Key: []byte("application-version"), Value: []byte(version.Application)},
			{Key: []byte(protocolV2), Value: banana.Dict{}},
		}, nil
	}},
	"publish_v2": {
		Args: []foolscap.Arg{
			{Name: "announcement", Schema: banana.Any()},
			{Name: "canary", Schema: banana.Reference()},
		},
		Limit: maxTriple,
		Do: func(_ context.Context, c *foolscap.Call) (any, error) {
			return nil, c.Self.(*Server).publish(c)
		},
	},
	"subscribe_v2": {
		Args: []foolscap.Arg{
			{Name: "subscriber", Schema: banana.Reference()},
			{Name: "service_name", Schema: word(maxService)},
			{Name: "subscriber_info", Schema: banana.DictOf(word(100), banana.Any(), 50)},
		},
		Limit: maxInfo,
		Do: func(_ context.Context, c *foolscap.Call) (any, error) {
			return nil, c.Self.(*Server).subscribe(c)
		},
	},
}
