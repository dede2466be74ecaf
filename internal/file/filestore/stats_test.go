package filestore

import (
	"encoding/json"
	"math"
	"testing"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

const (
	chkText     = "URI:CHK:55c2akfi2xtvuo5zzre6kcklwe:cxunc3nxxye7yrm64x27lcvcdcjj6mc3azkerixsakndzl7lhcpq:1:2:5000"
	hugeText    = "URI:CHK:55c2akfi2xtvuo5zzre6kcklwe:cxunc3nxxye7yrm64x27lcvcdcjj6mc3azkerixsakndzl7lhcpq:1:2:9223372036854775807"
	litText     = "URI:LIT:nbswy3dpebwgs5dfojqwy"
	mutableText = "URI:SSK:y67cf3jczqozg42mghq2ldmalu:kmktndxymthlfhfg7y73fi4cgqd27rkklhcsbza6bvxhmgeekvha"
	verifyText  = "URI:SSK-Verifier:udzy257qewihqzch32dq24v6ja:kmktndxymthlfhfg7y73fi4cgqd27rkklhcsbza6bvxhmgeekvha"
	dirText     = "URI:DIR2:upmpo7rouxpboettrix353gx6e:idyl5dvccgqmv76mvsqthahlkoaxseqmxlbpkmy7its6uiaidusq"
	dirROText   = "URI:DIR2-RO:5zba2ubvvnmhiumom7ivsp2yla:idyl5dvccgqmv76mvsqthahlkoaxseqmxlbpkmy7its6uiaidusq"
	dirVerify   = "URI:DIR2-Verifier:x66mssdncycjjmszuenbjdmz2q:idyl5dvccgqmv76mvsqthahlkoaxseqmxlbpkmy7its6uiaidusq"
	immDirText  = "URI:DIR2-CHK:fgrqns3az6jtuepouttgkvugdy:sxmyc4oue2ug655uepui6rljxotz6pf5ujgclxpzzhayt54t3itq:1:2:188"
)

func itemOf(t *testing.T, text string, path ...string) Item {
	t.Helper()
	child, err := dirtable.NewChild(text, "", false)
	if err != nil {
		child = dirtable.Child{Write: caps.Keep(text, caps.Anywhere)}
	}
	return Item{Path: path, Child: child}
}

func TestStatsJSON(t *testing.T) {
	s := &Stats{}
	for _, text := range []string{chkText, litText, litText, mutableText, dirText, immDirText, verifyText, "x-future:foo"} {
		s.Add(itemOf(t, text))
	}
	s.AddListed(300, 3)
	s.AddListed(500, 2)
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"api-version":1,"count-immutable-files":1,"count-mutable-files":1,"count-literal-files":2,"count-files":4,"count-directories":2,` +
		`"count-unknown":2,"size-immutable-files":5000,"size-literal-files":26,"size-directories":800,"largest-directory":500,` +
		`"largest-directory-children":3,"largest-immutable-file":5000,"size-files-histogram":[[11,31,2],[3163,10000,1]]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if s.DeepSize() != 5800 {
		t.Errorf("deep size %d", s.DeepSize())
	}
	empty, err := json.Marshal(&Stats{})
	if err != nil || !json.Valid(empty) || string(empty[len(empty)-len(`"size-files-histogram":[]}`):]) != `"size-files-histogram":[]}` {
		t.Errorf("empty: %s, %v", empty, err)
	}
}

// Buckets are those that the reference computes.
func TestHistogram(t *testing.T) {
	want := [][2]int64{{0, 0}, {1, 3}, {4, 10}, {11, 31}, {32, 100}, {101, 316}, {317, 1000}, {1001, 3162}, {3163, 10000}, {10001, 31622},
		{31623, 100000}, {100001, 316227}, {316228, 1000000}, {1000001, 3162277}, {3162278, 10000000}, {10000001, 31622776},
		{31622777, 100000000}, {100000001, 316227766}, {316227767, 1000000000}, {1000000001, 3162277660}, {3162277661, 10000000000},
		{10000000001, 31622776601}, {31622776602, 100000000000}, {100000000001, 316227766016}, {316227766017, 1000000000000}}
	s := &Stats{}
	for i := len(want) - 1; i >= 0; i -= 2 {
		s.histogram(want[i][0])
		s.histogram(want[i][1])
	}
	for i := 1; i < len(want); i += 2 {
		s.histogram(want[i][0])
		s.histogram(want[i][1])
	}
	if len(s.Histogram) != len(want) {
		t.Fatalf("histogram %v", s.Histogram)
	}
	for i, b := range s.Histogram {
		if b != (Bucket{want[i][0], want[i][1], 2}) {
			t.Errorf("bucket %d: %v, want %v", i, b, want[i])
		}
	}
}

// A cap may claim any size.
func TestStatsOfHugeFiles(t *testing.T) {
	s := &Stats{}
	for range 3 {
		s.Add(itemOf(t, hugeText))
	}
	s.AddListed(10, 1)
	if s.SizeImmutableFiles != math.MaxInt64 || s.DeepSize() != math.MaxInt64 || s.Histogram[0].Count != 3 || s.Histogram[0].Max != math.MaxInt64 {
		t.Errorf("%+v", s)
	}
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		mutableText:    `{"type":"file","path":["a"],"cap":"` + mutableText + `","verifycap":"` + verifyText + `","repaircap":"` + mutableText + `","storage-index":"udzy257qewihqzch32dq24v6ja"}`,
		dirROText:      `{"type":"directory","path":["a"],"cap":"` + dirROText + `","verifycap":"` + dirVerify + `","repaircap":"","storage-index":"x66mssdncycjjmszuenbjdmz2q"}`,
		litText:        `{"type":"file","path":["a"],"cap":"` + litText + `","verifycap":"","repaircap":"","storage-index":""}`,
		"x-future:foo": `{"type":"unknown","path":["a"],"cap":"x-future:foo","verifycap":"","repaircap":"","storage-index":""}`,
	} {
		got, err := json.Marshal(itemOf(t, text, "a").RevealLine())
		if err != nil || string(got) != want {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
	}
	if got := (Item{}).RevealLine(); got.Type != "unknown" || got.Path == nil {
		t.Errorf("of nothing: %+v", got)
	}
}
