package ini_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/node/config/ini"
)

// row is what Python 3.11's ConfigParser(strict=False) made of a text:
// either the lines it refused, or for each section each key's raw and
// expanded value (nil where expanding is an error).
type row struct {
	In       string
	Lines    []int
	Sections map[string]map[string][2]*string
	Order    []string
}

func rows(t testing.TB) []row {
	data, err := os.ReadFile("testdata/configparser.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestAsConfigParser(t *testing.T) {
	for _, r := range rows(t) {
		f, errs := ini.Parse([]byte(r.In))
		if r.Lines != nil {
			var lines []int
			for _, e := range errs {
				lines = append(lines, e.Line)
			}
			// ConfigParser stops at a line before the first section.
			if len(lines) == 0 || lines[0] != r.Lines[0] || len(r.Lines) > 1 && !slices.Equal(lines, r.Lines) {
				t.Errorf("Parse(%q): errors in lines %v, want %v", r.In, lines, r.Lines)
			}
			continue
		}
		if len(errs) > 0 {
			t.Errorf("Parse(%q): %v", r.In, errs)
			continue
		}
		got := map[string]map[string][2]*string{}
		for _, s := range f.Sections() {
			got[s] = map[string][2]*string{}
			for _, k := range append(f.Keys(s), f.Keys(ini.Default)...) {
				raw, _ := f.Raw(s, k)
				pair := [2]*string{&raw, nil}
				v, ok, err := f.Get(s, k)
				switch {
				case !ok || err != nil && !errors.Is(err, ini.ErrInterpolation):
					t.Errorf("Get(%q, %q) of %q = %v, %v", s, k, r.In, ok, err)
				case err == nil:
					pair[1] = &v
				}
				got[s][k] = pair
				if f.KeyLine(s, k) == 0 {
					t.Errorf("KeyLine(%q, %q) of %q = 0", s, k, r.In)
				}
			}
		}
		if d := cmp.Diff(r.Sections, got); d != "" {
			t.Errorf("Parse(%q): -want +got\n%s", r.In, d)
		}
		if !slices.Equal(f.Sections(), r.Order) {
			t.Errorf("Parse(%q): sections %q, want %q", r.In, f.Sections(), r.Order)
		}
	}
}

func TestLinesAndBOM(t *testing.T) {
	f, errs := ini.Parse([]byte("\ufeff# c\n[node]\nnickname = a\n  b\nNickName: c\n\n[tor]\nonion=yes\n"))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, tt := range []struct {
		section, key string
		want         int
	}{{"node", "", 2}, {"node", "nickname", 5}, {"tor", "", 7}, {"tor", "ONION", 8}, {"tor", "x", 0}, {"x", "", 0}, {"x", "y", 0}} {
		got := f.KeyLine(tt.section, tt.key)
		if tt.key == "" {
			got = f.Line(tt.section)
		}
		if got != tt.want {
			t.Errorf("line of [%s] %s = %d, want %d", tt.section, tt.key, got, tt.want)
		}
	}
	if _, errs := ini.Parse([]byte("[a]\nk = \xff\nok\n")); len(errs) != 2 || errs[0].Line != 2 || errs[1].Line != 3 {
		t.Errorf("bad UTF-8: %v", errs)
	}
	if _, errs := ini.Parse(make([]byte, ini.MaxSize+1)); len(errs) != 1 {
		t.Errorf("too large: %v", errs)
	}
}

// ConfigParser would fill the memory with the first and never end with the
// second.
func TestExpansionIsBounded(t *testing.T) {
	for _, start := range []string{strings.Repeat("x", 1000), ""} {
		testExpansion(t, start)
	}
}

func testExpansion(t *testing.T, start string) {
	var b strings.Builder
	b.WriteString("[a]\nk0 = " + start + "\n")
	for i := range 8 {
		b.WriteString("k" + string(rune('1'+i)) + " = " + strings.Repeat("%(k"+string(rune('0'+i))+")s", 1000) + "\n")
	}
	f, errs := ini.Parse([]byte(b.String()))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if _, ok, err := f.Get("a", "k8"); !ok || !errors.Is(err, ini.ErrInterpolation) {
		t.Errorf("Get = %v, %v; want an error", ok, err)
	}
}

func TestBool(t *testing.T) {
	for _, s := range []string{"1", "yes", "TRUE", "On"} {
		if b, ok := ini.Bool(s); !b || !ok {
			t.Errorf("Bool(%q) = %v, %v", s, b, ok)
		}
	}
	for _, s := range []string{"0", "NO", "false", "oFF"} {
		if b, ok := ini.Bool(s); b || !ok {
			t.Errorf("Bool(%q) = %v, %v", s, b, ok)
		}
	}
	for _, s := range []string{"", "y", "2", "true ", "enabled"} {
		if _, ok := ini.Bool(s); ok {
			t.Errorf("Bool(%q) is accepted", s)
		}
	}
}

func TestReferences(t *testing.T) {
	f, _ := ini.Parse([]byte("[a]\nx = %(Host)s:%(port)s %(host)s %%(lit)s %(\n"))
	if d := cmp.Diff([]string{"host", "port", "lit"}, f.References("a")); d != "" {
		t.Error(d)
	}
}
