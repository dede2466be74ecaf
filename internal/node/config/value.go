package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/node/config/endpoint"
	"tahoe-go/internal/node/config/ini"
)

// A value is a field of Config that knows how its text is written.
type value interface {
	set(c *Config, text string) error
	form() string // for the documentation
}

type (
	textValue struct{ p *string }
	boolValue struct{ p *bool }
	intValue  struct {
		p           *int
		least, most int
	}
	bytesValue struct {
		p           *int64
		least, most int64
	} // a plain number
	sizeValue    struct{ p *int64 }         // with units
	secondValue  struct{ p *time.Duration } // plain seconds; 0 is negative: never
	ageValue     struct{ p *time.Duration } // with units
	dateValue    struct{ p *time.Time }
	pathValue    struct{ p *string }
	programValue struct{ p *string } // a path, or a name to find on the PATH
	furlValue    struct{ p *redact.Secret }
	listValue    struct{ p *[]string }
	wordValue    struct {
		p     *string
		words []string
	}
	pointValue struct {
		p    *endpoint.Value
		role endpoint.Role
	}
	pointsValue struct {
		p    *[]endpoint.Value
		role endpoint.Role
	}
)

func (textValue) form() string    { return "text" }
func (boolValue) form() string    { return "true or false" }
func (v intValue) form() string   { return fmt.Sprintf("number, %d to %d", v.least, v.most) }
func (bytesValue) form() string   { return "bytes" }
func (sizeValue) form() string    { return "size, as `1G` or `500MiB`" }
func (secondValue) form() string  { return "seconds" }
func (ageValue) form() string     { return "time, as `31 days`" }
func (dateValue) form() string    { return "date, `YYYY-MM-DD`" }
func (pathValue) form() string    { return "path" }
func (programValue) form() string { return "program" }
func (furlValue) form() string    { return "fURL" }
func (listValue) form() string    { return "list, with commas" }
func (v wordValue) form() string  { return "`" + strings.Join(v.words, "`, `") + "`" }
func (v pointValue) form() string {
	if v.role == endpoint.Dial {
		return "endpoint to connect to"
	}
	return "endpoint to listen on"
}
func (v pointsValue) form() string {
	if v.role == endpoint.Location {
		return "list of hints, with commas"
	}
	return "list of endpoints to listen on, with commas"
}

func (v textValue) set(_ *Config, s string) error { *v.p = s; return nil }

func (v boolValue) set(_ *Config, s string) error {
	b, ok := ini.Bool(s)
	if !ok {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	*v.p = b
	return nil
}

func (v intValue) set(_ *Config, s string) error {
	n, err := number(s, int64(v.least), int64(v.most))
	*v.p = int(n)
	return err
}

func (v bytesValue) set(_ *Config, s string) error {
	n, err := number(s, v.least, v.most)
	*v.p = n
	return err
}

func number(s string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return least, fmt.Errorf("%q is not a number from %d to %d", s, least, most)
	}
	return n, nil
}

func (v sizeValue) set(_ *Config, s string) error {
	n, err := ParseSize(s)
	*v.p = n
	return err
}

func (v secondValue) set(_ *Config, s string) error {
	if s == "" {
		return nil
	}
	n, err := number(s, 0, math.MaxInt32)
	*v.p = time.Duration(n) * time.Second
	if n == 0 {
		*v.p = -1
	}
	return err
}

func (v ageValue) set(_ *Config, s string) error {
	d, err := ParseAge(s)
	*v.p = d
	return err
}

func (v dateValue) set(_ *Config, s string) error {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return fmt.Errorf("%q is not a date of the form YYYY-MM-DD", s)
	}
	*v.p = t
	return nil
}

func (v pathValue) set(c *Config, s string) error {
	p, err := c.path(s)
	*v.p = p
	return err
}

func (v programValue) set(c *Config, s string) error {
	if !strings.ContainsAny(s, `/\`) {
		*v.p = s
		return nil
	}
	return pathValue(v).set(c, s)
}

// path makes a path of tahoe.cfg absolute.
func (c *Config) path(s string) (string, error) {
	if s == "" {
		return "", errors.New("the path is empty")
	}
	if s == "~" || strings.HasPrefix(s, "~/") {
		if c.options.Home == "" {
			return "", errors.New("there is no home folder to replace ~ with")
		}
		return filepath.Join(c.options.Home, s[1:]), nil
	}
	if strings.HasPrefix(s, "~") {
		return "", fmt.Errorf("%q names another user's home; only ~/ is understood", s)
	}
	if !filepath.IsAbs(s) {
		s = filepath.Join(c.Dir, s)
	}
	return filepath.Clean(s), nil
}

// absolute makes the paths inside an endpoint absolute.
func (c *Config) absolute(v endpoint.Value) (endpoint.Value, error) {
	var err error
	fix := func(p *string) {
		if *p != "" && err == nil {
			*p, err = c.path(*p)
		}
	}
	switch e := v.(type) {
	case endpoint.Unix:
		fix(&e.Path)
		return e, err
	case endpoint.DialUnix:
		fix(&e.Path)
		return e, err
	case endpoint.SSL:
		fix(&e.PrivateKey)
		fix(&e.CertKey)
		fix(&e.ExtraCertChain)
		return e, err
	case endpoint.Onion:
		fix(&e.HiddenServiceDir)
		fix(&e.PrivateKeyFile)
		return e, err
	}
	return v, nil
}

func (v furlValue) set(_ *Config, s string) error {
	if s == "" {
		return nil
	}
	if strings.Contains(s, "#") {
		return errors.New("a fURL has no # in it")
	}
	if _, err := furl.ParseFURL(s); err != nil && s != "None" {
		return err
	}
	*v.p = redact.New(s)
	return nil
}

func (v listValue) set(_ *Config, s string) error {
	*v.p = nil
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*v.p = append(*v.p, item)
		}
	}
	return nil
}

func (v wordValue) set(_ *Config, s string) error {
	i := slices.IndexFunc(v.words, func(w string) bool { return strings.EqualFold(w, s) })
	if i < 0 {
		return fmt.Errorf("%q is not one of %s", s, strings.Join(v.words, ", "))
	}
	*v.p = v.words[i]
	return nil
}

func (v pointValue) set(c *Config, s string) error {
	*v.p = nil
	if s == "" {
		return nil
	}
	p, err := endpoint.Parse(v.role, s)
	if err == nil {
		*v.p, err = c.absolute(p)
	}
	return err
}

func (v pointsValue) set(c *Config, s string) error {
	if s == "" {
		return errors.New("the value is empty; leave the key out, or write disabled to tub.port and tub.location")
	}
	ps, err := endpoint.ParseList(v.role, s)
	for i := range ps {
		if err == nil {
			ps[i], err = c.absolute(ps[i])
		}
	}
	*v.p = ps
	return err
}

var sizeForm = regexp.MustCompile(`^(\d+)([KMGTPE]?)(I?)B?$`)

// ParseSize reads a number of bytes: digits, then perhaps K, M, G, T, P or E
// for powers of 1000, or with an i behind it of 1024, then perhaps B; in any
// case, without blanks. The empty text is 0.
func ParseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	m := sizeForm.FindStringSubmatch(strings.ToUpper(s))
	if m == nil {
		return 0, fmt.Errorf("%q is not a size such as 1G, 500MB or 2TiB (no blanks, no fractions)", s)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	base := int64(1000)
	if m[3] != "" {
		base = 1024
	}
	power := 0
	if m[2] != "" {
		power = strings.Index("KMGTPE", m[2]) + 1
	}
	for range power {
		if n > math.MaxInt64/base {
			err = strconv.ErrRange
			break
		}
		n *= base
	}
	if err != nil {
		return 0, fmt.Errorf("the size %q is too large", s)
	}
	return n, nil
}

var ageForm = regexp.MustCompile(`(?i)^\s*(\d+)\s*(s|seconds?|days?|mo|months?|years?)\s*$`)

// ParseAge reads a time such as "31 days": a number and a unit, s, second(s),
// day(s), mo or month(s) of 31 days, year(s) of 365 days.
func ParseAge(s string) (time.Duration, error) {
	m := ageForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a time such as 31 days (units: seconds, days, months, years)", s)
	}
	unit := 24 * time.Hour
	switch strings.ToLower(m[2])[0:1] {
	case "s":
		unit = time.Second
	case "m":
		unit *= 31
	case "y":
		unit *= 365
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > int64(math.MaxInt64/unit) {
		return 0, fmt.Errorf("the time %q is too long", s)
	}
	return time.Duration(n) * unit, nil
}
