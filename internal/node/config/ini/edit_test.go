package ini_test

import (
	"bytes"
	"errors"
	"testing"

	"tahoe-go/internal/node/config/ini"
)

const before = `# kept
[node]
nickname = old
  # kept too
  and more
web.port = 3456
#tub.port =

# about storage
[storage]
  enabled = true
`

func TestEdit(t *testing.T) {
	set := func(s, k, v string) func(*ini.File) error {
		return func(f *ini.File) error { return f.Set(s, k, v) }
	}
	for _, tt := range []struct {
		name, in string
		do       func(*ini.File) error
		want     string // "" for ErrEdit and no change
	}{
		{"replace", "[a]\nk = 1\nj = 2\n", set("a", "K", "50%"), "[a]\nK = 50%%\nj = 2\n"},
		{"replace keeps comments", before, set("node", "nickname", "new"), `# kept
[node]
nickname = new
  # kept too
web.port = 3456
#tub.port =

# about storage
[storage]
  enabled = true
`},
		{"replace the one that counts", "[a]\nk=1\nk=2\n", set("a", "k", "3"), "[a]\nk=1\nk = 3\n"},
		{"add to section", before, set("node", "tub.port", "tcp:1"), `# kept
[node]
nickname = old
  # kept too
  and more
web.port = 3456
tub.port = tcp:1
#tub.port =

# about storage
[storage]
  enabled = true
`},
		{"add with the indent", "[a]\n  k = 1\n", set("a", "j", "2"), "[a]\n  k = 1\n  j = 2\n"},
		{"add to the last of a repeated section", "[a]\nk=1\n[b]\n[a]\n", set("a", "j", "2"), "[a]\nk=1\n[b]\n[a]\nj = 2\n"},
		{"new section", "[a]\nk=1", set("b", "j", "2"), "[a]\nk=1\n\n[b]\nj = 2\n"},
		{"empty file", "", set("b", "j", "2"), "[b]\nj = 2\n"},
		{"DEFAULT", "[a]\n", set("DEFAULT", "j", "2"), "[a]\n\n[DEFAULT]\nj = 2\n"},
		{"CRLF", "[a]\r\nk = 1\r\n", set("a", "j", "2"), "[a]\r\nk = 1\r\nj = 2\r\n"},
		{"CRLF section", "[a]\r\nk = 1\r\n", set("b", "j", "2"), "[a]\r\nk = 1\r\n\r\n[b]\r\nj = 2\r\n"},
		{"BOM", "\ufeff[a]\n", set("a", "j", "2"), "\ufeff[a]\nj = 2\n"},
		{"lines", "[a]\n", set("a", "j", "1\n2"), "[a]\nj = 1\n\t2\n"},
		{"empty value", "[a]\n", set("a", "j", ""), "[a]\nj =\n"},
		{"spaces cannot be kept", "[a]\n", set("a", "j", " x "), ""},
		{"a line cannot be a comment", "[a]\n", set("a", "j", "1\n#2"), ""},
		{"no newline in keys", "[a]\n", set("a", "j\nk", "1"), ""},
		{"no = in keys", "[a]\n", set("a", "j=k", "1"), ""},
		{"no ] in sections", "[a]\n", set("a]\n[b", "j", "1"), ""},
		{"broken file", "[a]\nx\n", set("a", "j", "1"), ""},
		{"remove", before, func(f *ini.File) error { return f.Remove("node", "NICKNAME") }, `# kept
[node]
  # kept too
web.port = 3456
#tub.port =

# about storage
[storage]
  enabled = true
`},
		{"remove all", "[a]\nk=1\nj=2\nk=3\n 4\n", func(f *ini.File) error { return f.Remove("a", "k") }, "[a]\nj=2\n"},
		{"remove what is not there", "[a]\nk=1\n", func(f *ini.File) error { return f.Remove("b", "k") }, "[a]\nk=1\n"},
		{"removal must not join lines", "[a]\n k=1\nj=2\n m=3\n", func(f *ini.File) error { return f.Remove("a", "k") }, "[a]\nj=2\n m=3\n"},
		{"removal would join lines", "[a]\nj=2\nk=1\n  m=3\n", func(f *ini.File) error { return f.Remove("a", "k") }, "[a]\nj=2\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := ini.Parse([]byte(tt.in))
			err := tt.do(f)
			if want := tt.want; want == "" {
				if !errors.Is(err, ini.ErrEdit) || string(f.Bytes()) != tt.in {
					t.Errorf("err = %v, text %q; want ErrEdit and no change", err, f.Bytes())
				}
			} else if err != nil || string(f.Bytes()) != want {
				t.Errorf("err = %v, got\n%s\nwant\n%s", err, f.Bytes(), want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, r := range rows(f) {
		f.Add([]byte(r.In), "a", "k", "v")
	}
	f.Add([]byte(before), "node", "nickname", "50%\nx")
	f.Fuzz(func(t *testing.T, text []byte, section, key, value string) {
		file, errs := ini.Parse(text)
		for _, s := range file.Sections() {
			for _, k := range file.Keys(s) {
				file.Get(s, k)
			}
			file.References(s)
		}
		if len(text) <= ini.MaxSize && !bytes.Equal(file.Bytes(), text) {
			t.Fatalf("Bytes() = %q, want the text as it was", file.Bytes())
		}
		if len(errs) > 0 {
			return
		}
		if err := file.Set(section, key, value); err != nil {
			if !bytes.Equal(file.Bytes(), text) {
				t.Fatalf("Set failed and changed the text to %q", file.Bytes())
			}
			return
		}
		again, errs := ini.Parse(file.Bytes())
		if got, ok, err := again.Get(section, key); len(errs) > 0 || !ok || err != nil || got != value {
			t.Fatalf("after Set of %q: %q, %v, %v, %v in\n%s", value, got, ok, err, errs, file.Bytes())
		}
		if err := file.Remove(section, key); err == nil {
			again, _ := ini.Parse(file.Bytes())
			for _, k := range again.Keys(section) {
				if k == key {
					t.Fatalf("Remove left %q", key)
				}
			}
		}
	})
}
