package node

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
)

// newLogger returns the node's logger, which writes text lines to w. On a
// hidden node no address gets into a line.
func newLogger(w io.Writer, level string, hidden bool) (*slog.Logger, error) {
	var l slog.Level
	if level == "" {
		level = "info"
	}
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: it is debug, info, warn or error", level)
	}
	blot := secrets
	if hidden {
		blot = append(blot[:len(blot):len(blot)], addresses...)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: l,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch v := a.Value.Any().(type) {
			case error:
				a.Value = slog.StringValue(blotOut(blot, v.Error()))
			case string:
				a.Value = slog.StringValue(blotOut(blot, v))
			}
			return a
		},
	})), nil
}

// A blot takes something out of a line that may come from others: an error
// text of the system, a server's words. The parts keep their own secrets out of
// logs; this is the second line.
type blot struct {
	what *regexp.Regexp
	by   string
}

var secrets = []blot{
	{regexp.MustCompile(`(ro\.|imm\.)?URI:[A-Z0-9-]+:[A-Za-z0-9:%*-]+`), "[cap]"},
	{regexp.MustCompile(`pb(\+\w+)?://[^\s"]+`), "[furl]"},
}

var addresses = []blot{
	{regexp.MustCompile(`(?i)\b[a-z2-7]{56}\.onion(:\d+)?\b`), "[onion]"},
	{regexp.MustCompile(`\b[1-9]\d{0,2}(\.\d{1,3}){3}(:\d+)?\b`), "[address]"},
	{regexp.MustCompile(`(?i)\[?([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?::[0-9a-f:.]*(%\w+)?\]?(:\d+)?|\[?\b([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\b\]?(:\d+)?`), "[address]"},
	{regexp.MustCompile(`(?i)\b(tcp|tor):[a-z0-9.-]+:\d+\b`), "[address]"},
	{regexp.MustCompile(`\blookup [^\s:]+`), "lookup [name]"},
}

func blotOut(blots []blot, s string) string {
	for _, b := range blots {
		s = b.what.ReplaceAllString(s, b.by)
	}
	return s
}
