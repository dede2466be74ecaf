package dirtable

import "testing"

// What Python makes of what it has read: json.dumps(json.loads(s)).
func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                        `{}`,
		"{\n \"a\" :1,\t\"b\":[ ]}": `{"a": 1, "b": []}`,
		`{"a":[1,2.50,-3e2,1e400,0.00001,1e16,123456789012345678901234567890,1.5E+300,-0.0]}`: `{"a": [1, 2.5, -300.0, 1e400, 1e-05, 1e+16, 123456789012345678901234567890, 1.5e+300, -0.0]}`,
		`{"é☃𝄞":"\/\u00e9\"\\\b\u0001\u007f, : {"}`:                                           `{"\u00e9\u2603\ud834\udd1e": "/\u00e9\"\\\b\u0001` + "\x7f" + `, : {"}`,
		`{"a":"\ud834"}`:                               `{"a": "\ud834"}`,
		`{"a":{"b":[true,false,null,{"c":0}]}}`:        `{"a": {"b": [true, false, null, {"c": 0}]}}`,
		`{"mtime":1700000000.25,"ctime":1234567890.0}`: `{"mtime": 1700000000.25, "ctime": 1234567890.0}`,
	} {
		if got := canonical(in); got != want {
			t.Errorf("canonical(%s)\n got %s\nwant %s", in, got, want)
		}
		if again := canonical(want); again != want {
			t.Errorf("canonical(%s) = %s", want, again)
		}
	}
}
