package control

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Bounds on what the other end may send.
const (
	maxLine  = 64 << 10
	maxReply = 1 << 20
)

// Line is one line of a reply without its code. Data is the block that followed
// it, if any, lines separated by "\n".
type Line struct {
	Text, Data string
}

// Reply is tor's answer to a command, or an event.
type Reply struct {
	Code  int
	Lines []Line // never empty
}

// Error is a refusal by tor.
type Error struct {
	Command string // its first word only: the rest may hold a key
	Code    int
	Text    string // tor's words
}

func (e *Error) Error() string {
	return fmt.Sprintf("tor refuses %s: %d %s", e.Command, e.Code, e.Text)
}

// BadArgument reports whether tor, or a filter before it, does not know the
// command or one of its words (510, 511, 512, 513).
func (e *Error) BadArgument() bool { return e.Code >= 510 && e.Code <= 513 }

// Collision reports that an onion service with this key is running already.
func (e *Error) Collision() bool { return e.Code == 550 }

// asError returns nil for success: 250, 251 (nothing to do) or 252 (done, and
// something else with it).
func (r Reply) asError(verb string) error {
	if r.Code >= 250 && r.Code <= 252 {
		return nil
	}
	return &Error{Command: verb, Code: r.Code, Text: printable(r.Lines[len(r.Lines)-1].Text)}
}

// printable makes foreign words safe for a terminal and a log, and short.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// readReply reads one whole reply.
func readReply(br *bufio.Reader) (Reply, error) {
	var r Reply
	left := maxReply
	for {
		line, err := readLine(br, &left)
		if err != nil {
			return Reply{}, err
		}
		code, ok := replyCode(line)
		if !ok {
			return Reply{}, fmt.Errorf("%w: it sends %q", ErrNotTor, printable(line[:min(len(line), 60)]))
		}
		r.Code = code
		l := Line{Text: line[4:]}
		if line[3] == '+' {
			if l.Data, err = readData(br, &left); err != nil {
				return Reply{}, err
			}
		}
		r.Lines = append(r.Lines, l)
		if line[3] == ' ' {
			return r, nil
		}
	}
}

// replyCode reads the three digits and checks the sign after them.
func replyCode(line string) (int, bool) {
	if len(line) < 4 || strings.IndexByte(" -+", line[3]) < 0 {
		return 0, false
	}
	code := 0
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		code = code*10 + int(c-'0')
	}
	return code, true
}

// readData reads a block up to the line with a single dot.
func readData(br *bufio.Reader, left *int) (string, error) {
	var b strings.Builder
	for {
		line, err := readLine(br, left)
		if err != nil {
			return "", err
		}
		if line == "." {
			return strings.TrimSuffix(b.String(), "\n"), nil
		}
		b.WriteString(strings.TrimPrefix(line, ".")) // dots are doubled
		b.WriteByte('\n')
	}
}

// readLine reads a line without its end and takes it off left, the bytes that
// this reply may still have.
func readLine(br *bufio.Reader, left *int) (string, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine || len(line) > *left {
			return "", fmt.Errorf("%w: it sends too much at once", ErrNotTor)
		}
		if err == nil {
			break
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
	*left -= len(line)
	return string(bytes.TrimRight(line, "\r\n")), nil
}
