package storagetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"

	"tahoe-go/internal/storage"
)

type (
	writes  = map[storage.ShareNum]storage.SlotWrite
	patches = []storage.SlotPatch
	tests   = []storage.SlotTest
)

func newEnabler() storage.WriteEnabler { return storage.NewWriteEnabler([32]byte(content(32))) }

func newLength(n int64) *int64 { return &n }

// whole is a write of a whole share that must not be there.
func whole(data []byte) storage.SlotWrite {
	return storage.SlotWrite{Tests: tests{{Off: 0, Len: 1}}, Writes: patches{{Off: 0, Data: data}}}
}

// write changes a slot and checks whether that was applied.
func writeSlot(t *testing.T, s storage.Server, si storage.Index, we storage.WriteEnabler, w writes, spans []storage.Span, applied bool) map[storage.ShareNum][][]byte {
	t.Helper()
	got, err := s.TestAndWrite(t.Context(), si, we, newSecrets(), w, spans)
	if err != nil {
		t.Fatalf("TestAndWrite: %v", err)
	}
	if got.Applied != applied {
		t.Errorf("TestAndWrite: applied %v; want %v", got.Applied, applied)
	}
	return got.Data
}

// wantSlot checks what all shares of a slot hold; with nothing, that none is
// held.
func wantSlot(t *testing.T, s storage.Server, si storage.Index, want map[storage.ShareNum][]byte) {
	t.Helper()
	got, err := s.ReadSlot(t.Context(), si, nil, []storage.Span{{Off: 0, Len: 1 << 40}})
	if err != nil {
		t.Fatalf("ReadSlot: %v", err)
	}
	for num, data := range want {
		if len(got[num]) != 1 {
			t.Errorf("share %d: %d pieces; want one", num, len(got[num]))
		} else if !bytes.Equal(got[num][0], data) {
			t.Errorf("share %d holds %d bytes; want %d, or they differ", num, len(got[num][0]), len(data))
		}
	}
	if len(got) != len(want) {
		t.Errorf("shares %v are held; want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	held, err := s.ReadSlot(t.Context(), si, nil, nil)
	if err != nil || len(held) != len(want) {
		t.Errorf("ReadSlot of no spans: %d shares, %v; want %d", len(held), err, len(want))
	}
}

var slotCases = []Case{
	{"SlotUnknown", func(t *testing.T, s storage.Server) {
		si := newIndex()
		wantSlot(t, s, si, nil)
		got, err := s.ReadSlot(t.Context(), si, nums(0, 255), []storage.Span{{Off: 0, Len: 10}})
		if err != nil || len(got) != 0 {
			t.Errorf("ReadSlot of an unknown index: %v, %v; want nothing", got, err)
		}
		wantErr(t, "report on nothing", s.ReportCorruptSlot(t.Context(), si, 0, "x"), storage.ErrNotFound)
		if data := writeSlot(t, s, si, newEnabler(), nil, []storage.Span{{Off: 0, Len: 10}}, true); len(data) != 0 {
			t.Errorf("TestAndWrite of nothing read %v", data)
		}
		wantSlot(t, s, si, nil)
	}},
	{"SlotCreateAndChange", func(t *testing.T, s storage.Server) {
		si, we, one, two := newIndex(), newEnabler(), content(1000), content(333)
		writeSlot(t, s, si, we, writes{3: whole(one), 255: whole(two)}, nil, true)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{3: one, 255: two})
		// In place, over the end, and one share more.
		data := writeSlot(t, s, si, we, writes{
			3: {Tests: tests{{Off: 0, Len: 41, Specimen: one[:41]}}, Writes: patches{{Off: 10, Data: two[:50]}, {Off: 990, Data: two[:100]}}},
			0: whole(two),
		}, []storage.Span{{Off: 5, Len: 10}, {Off: 990, Len: 500}, {Off: 333, Len: 1}, {Off: 0, Len: 0}}, true)
		want := slices.Concat(one[:10], two[:50], one[60:990], two[:100])
		wantSlot(t, s, si, map[storage.ShareNum][]byte{3: want, 255: two, 0: two})
		// What was read is of before the write, and of every share.
		for num, pieces := range map[storage.ShareNum][][]byte{3: {one[5:15], one[990:], one[333:334], nil}, 255: {two[5:15], nil, nil, nil}} {
			if !slices.EqualFunc(data[num], pieces, bytes.Equal) {
				t.Errorf("share %d: read %x; want %x", num, data[num], pieces)
			}
		}
		if len(data) != 2 {
			t.Errorf("read %d shares; want the 2 that were held", len(data))
		}
	}},
	{"SlotReadSpans", func(t *testing.T, s storage.Server) {
		si, we, one, two := newIndex(), newEnabler(), content(1000), content(10)
		writeSlot(t, s, si, we, writes{1: whole(one), 2: whole(two)}, nil, true)
		spans := []storage.Span{{Off: 0, Len: 1000}, {Off: 999, Len: 1}, {Off: 1000, Len: 1}, {Off: 5, Len: 0}, {Off: 9, Len: math.MaxInt64}, {Off: math.MaxInt64, Len: math.MaxInt64}}
		got, err := s.ReadSlot(t.Context(), si, nums(2, 1, 7), spans)
		if err != nil {
			t.Fatal(err)
		}
		want := map[storage.ShareNum][][]byte{1: {one, one[999:], nil, nil, one[9:], nil}, 2: {two, nil, nil, nil, two[9:], nil}}
		for num, pieces := range want {
			if !slices.EqualFunc(got[num], pieces, bytes.Equal) {
				t.Errorf("share %d: pieces differ", num)
			}
		}
		if len(got) != 2 {
			t.Errorf("%d shares; want 2", len(got))
		}
		if got, err := s.ReadSlot(t.Context(), si, nums(2), nil); err != nil || len(got) != 1 || got[2] == nil {
			t.Errorf("ReadSlot of no spans of share 2: %v, %v", got, err)
		}
		// To expect shares, right or wrong, changes no answer.
		for _, likely := range [][]storage.ShareNum{nil, nums(1), nums(2, 1, 7), nums(7), nums(255, 0)} {
			got, err := s.ReadSlot(storage.Expecting(t.Context(), likely), si, nil, []storage.Span{{Off: 0, Len: 5}})
			if err != nil || len(got) != 2 || len(got[1]) != 1 || !bytes.Equal(got[1][0], one[:5]) || len(got[2]) != 1 || !bytes.Equal(got[2][0], two[:5]) {
				t.Errorf("ReadSlot expecting %v: %x, %v", likely, got, err)
			}
		}
		for _, bad := range []storage.Span{{Off: -1, Len: 5}, {Off: 0, Len: -1}} {
			if _, err := s.ReadSlot(t.Context(), si, nums(1), []storage.Span{bad}); err == nil {
				t.Errorf("ReadSlot of %v: no error", bad)
			}
		}
	}},
	{"SlotTests", func(t *testing.T, s storage.Server) {
		si, we, one, two := newIndex(), newEnabler(), content(100), content(50)
		writeSlot(t, s, si, we, writes{0: whole(one), 1: whole(two)}, nil, true)
		before := map[storage.ShareNum][]byte{0: one, 1: two}
		put := patches{{Off: 0, Data: []byte("new")}}
		for name, w := range map[string]writes{
			"other bytes":                {0: {Tests: tests{{Off: 0, Len: 5, Specimen: two[:5]}}, Writes: put}},
			"shorter specimen":           {0: {Tests: tests{{Off: 0, Len: 5, Specimen: one[:4]}}, Writes: put}},
			"longer specimen":            {0: {Tests: tests{{Off: 0, Len: 5, Specimen: one[:6]}}, Writes: put}},
			"must not be there":          {0: whole(two)},
			"past the end":               {0: {Tests: tests{{Off: 99, Len: 2, Specimen: []byte{one[99], 0}}}, Writes: put}},
			"not held":                   {7: {Tests: tests{{Off: 0, Len: 1, Specimen: []byte{0}}}, Writes: put}},
			"the second of one":          {0: {Tests: tests{{Off: 0, Len: 5, Specimen: one[:5]}, {Off: 0, Len: 5, Specimen: two[:5]}}, Writes: put}},
			"another share's":            {0: {Writes: put}, 1: {Tests: tests{{Off: 0, Len: 5, Specimen: one[:5]}}, Writes: put}},
			"another, not held":          {0: {Writes: put}, 9: {Tests: tests{{Off: 5, Len: 1, Specimen: []byte{7}}}}},
			"of a share only tested":     {0: {Writes: put}, 1: whole(two)},
			"and nothing is deleted":     {0: {NewLength: newLength(0)}, 1: whole(two)},
			"and nothing is truncated":   {0: {NewLength: newLength(5)}, 1: whole(two)},
			"and nothing comes to be":    {5: whole(two), 1: whole(two)},
			"of a share to be deleted":   {0: {Tests: tests{{Off: 0, Len: 1, Specimen: nil}}, NewLength: newLength(0)}},
			"not held, to be deleted":    {6: {Tests: tests{{Off: 0, Len: 1, Specimen: []byte{1}}}, NewLength: newLength(0)}, 0: {Writes: put}},
			"empty test, other specimen": {0: {Tests: tests{{Off: 0, Len: 0, Specimen: []byte{1}}}, Writes: put}},
		} {
			data := writeSlot(t, s, si, we, w, []storage.Span{{Off: 0, Len: 3}}, false)
			if len(data) != 2 || !bytes.Equal(data[0][0], one[:3]) || !bytes.Equal(data[1][0], two[:3]) {
				t.Errorf("%s: read %x", name, data)
			}
		}
		wantSlot(t, s, si, before)
		// The same tests of what is true.
		writeSlot(t, s, si, we, writes{
			0: {Tests: tests{{Off: 0, Len: 5, Specimen: one[:5]}, {Off: 95, Len: 100, Specimen: one[95:]}, {Off: 100, Len: 1}, {Off: 7, Len: 0}}, Writes: put},
			7: {Tests: tests{{Off: 5, Len: 1}}, Writes: put},
		}, nil, true)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: slices.Concat([]byte("new"), one[3:]), 1: two, 7: []byte("new")})
	}},
	{"SlotWriteEnabler", func(t *testing.T, s storage.Server) {
		si, we, data := newIndex(), newEnabler(), content(100)
		writeSlot(t, s, si, we, writes{0: whole(data)}, nil, true)
		for name, w := range map[string]writes{
			"overwrite":     {0: {Writes: patches{{Off: 0, Data: []byte("x")}}}},
			"delete":        {0: {NewLength: newLength(0)}},
			"another share": {1: whole(data)}, // would share the slot
			"failing test":  {0: whole(data)},
			"only read":     nil,
		} {
			got, err := s.TestAndWrite(t.Context(), si, newEnabler(), newSecrets(), w, []storage.Span{{Off: 0, Len: 5}})
			wantErr(t, name+" with another write enabler", err, storage.ErrBadWriteEnabler)
			if got != nil {
				t.Errorf("%s: got an answer, too", name)
			}
		}
		if _, err := s.TestAndWrite(t.Context(), si, storage.WriteEnabler{}, newSecrets(), nil, nil); err == nil {
			t.Error("no write enabler at all: no error")
		}
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: data})
	}},
	{"SlotLengths", func(t *testing.T, s storage.Server) {
		si, we, data := newIndex(), newEnabler(), content(1000)
		step := func(w storage.SlotWrite, want []byte) {
			t.Helper()
			writeSlot(t, s, si, we, writes{0: w}, nil, true)
			wantSlot(t, s, si, map[storage.ShareNum][]byte{0: want})
		}
		zeros := make([]byte, 5000)
		step(storage.SlotWrite{}, nil) // an empty share comes to be
		step(storage.SlotWrite{NewLength: newLength(10)}, nil)
		step(whole(data), data)
		step(storage.SlotWrite{NewLength: newLength(1001)}, data) // never longer
		step(storage.SlotWrite{NewLength: newLength(100)}, data[:100])
		// What was cut off does not come back.
		step(storage.SlotWrite{Writes: patches{{Off: 500, Data: data[:10]}}}, slices.Concat(data[:100], zeros[:400], data[:10]))
		step(storage.SlotWrite{Writes: patches{{Off: 2000, Data: data[:1]}}}, slices.Concat(data[:100], zeros[:400], data[:10], zeros[:1490], data[:1]))
		step(storage.SlotWrite{NewLength: newLength(5)}, data[:5])
		step(storage.SlotWrite{Writes: patches{{Off: 3000}}}, slices.Concat(data[:5], zeros[:2995]))
		// Patches are done in order, then the length.
		step(storage.SlotWrite{Writes: patches{{Off: 0, Data: data[:50]}, {Off: 10, Data: data[100:120]}, {Off: 40, Data: data}}, NewLength: newLength(60)},
			slices.Concat(data[:10], data[100:120], data[30:40], data[:20]))
		step(storage.SlotWrite{Writes: patches{{Off: 100, Data: data[:10]}, {Off: 70, Data: data[:50]}}}, slices.Concat(data[:10], data[100:120], data[30:40], data[:20], zeros[:10], data[:50]))
	}},
	{"SlotDelete", func(t *testing.T, s storage.Server) {
		si, we, data := newIndex(), newEnabler(), content(500)
		gone := storage.SlotWrite{Writes: patches{{Off: 0, Data: data}}, NewLength: newLength(0)}
		writeSlot(t, s, si, we, writes{4: gone}, nil, true) // was not there
		wantSlot(t, s, si, nil)
		writeSlot(t, s, si, we, writes{0: whole(data), 1: whole(data)}, nil, true)
		writeSlot(t, s, si, we, writes{0: gone}, nil, true)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{1: data})
		writeSlot(t, s, si, we, writes{1: gone, 2: whole(data)}, nil, true)
		writeSlot(t, s, si, we, writes{2: gone}, nil, true)
		wantSlot(t, s, si, nil)
		wantErr(t, "AddLease on a deleted slot", s.AddLease(t.Context(), si, newSecrets()), storage.ErrNotFound)
		// Who comes next sets the write enabler.
		writeSlot(t, s, si, newEnabler(), writes{0: whole(data[:7])}, nil, true)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: data[:7]})
	}},
	{"SlotLeases", func(t *testing.T, s storage.Server) {
		si, we, data, ls := newIndex(), newEnabler(), content(500), newSecrets()
		writeSlot(t, s, si, we, writes{0: whole(data), 5: whole(data)}, nil, true)
		for range 7 { // more than a container has places for
			if err := s.AddLease(t.Context(), si, newSecrets()); err != nil {
				t.Errorf("AddLease: %v", err)
			}
			if err := s.AddLease(t.Context(), si, ls); err != nil {
				t.Errorf("AddLease again: %v", err)
			}
			writeSlot(t, s, si, we, writes{0: {}}, nil, true)
		}
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: data, 5: data})
		data = append(data, content(3000)...)
		writeSlot(t, s, si, we, writes{0: {Writes: patches{{Off: 500, Data: data[500:]}}}}, nil, true)
		if err := s.AddLease(t.Context(), si, newSecrets()); err != nil {
			t.Errorf("AddLease: %v", err)
		}
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: data, 5: data[:500]})
	}},
	{"SlotAndImmutableApart", func(t *testing.T, s storage.Server) {
		si, we, one, two := newIndex(), newEnabler(), content(100), content(200)
		put(t, s, si, 0, one)
		writeSlot(t, s, si, we, writes{1: whole(two)}, nil, true)
		wantShares(t, s, si, 0)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{1: two})
		// Neither takes the other's number.
		if a := allocate(t, s, si, nums(1), 5); len(a.Writers) != 0 || !slices.Equal(a.Have, nums(0)) {
			t.Errorf("Allocate of a mutable share: have %v, %d writers", a.Have, len(a.Writers))
		}
		if got, err := s.TestAndWrite(t.Context(), si, we, newSecrets(), writes{0: whole(two)}, nil); err == nil {
			t.Errorf("TestAndWrite of an immutable share: %+v; want an error", got)
		}
		if err := s.AddLease(t.Context(), si, newSecrets()); err != nil {
			t.Errorf("AddLease on both: %v", err)
		}
		wantData(t, s, si, 0, one)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{1: two})
	}},
	{"SlotStaysBesideUpload", func(t *testing.T, s storage.Server) {
		si, we, one, two := newIndex(), newEnabler(), content(100), content(200)
		w := begin(t, s, si, 0, 100)
		write(t, w, one[:99], 0)
		// The slot comes to be while the upload runs, which may end in any
		// way that does not harm it.
		if _, err := s.TestAndWrite(t.Context(), si, we, newSecrets(), writes{0: whole(two)}, nil); err != nil {
			abort(t, w)
			return
		}
		if err := errors.Join(w.WriteAt(t.Context(), one[99:], 99), w.Close(t.Context())); err == nil {
			t.Error("an upload was completed over a slot")
		}
		abort(t, w)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: two})
		wantShares(t, s, si)
	}},
	{"SlotLimits", func(t *testing.T, s storage.Server) {
		si, we, data := newIndex(), newEnabler(), content(100)
		v, err := s.Version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		writeSlot(t, s, si, we, writes{0: whole(data)}, nil, true)
		for name, w := range map[string]storage.SlotWrite{
			"past the largest share": {Writes: patches{{Off: v.MaxMutableShareSize, Data: data}}},
			"at the end of numbers":  {Writes: patches{{Off: math.MaxInt64 - 5, Data: data}}},
			"after a good one":       {Writes: patches{{Off: 0, Data: []byte("x")}, {Off: v.MaxMutableShareSize, Data: data}}},
		} {
			_, err := s.TestAndWrite(t.Context(), si, we, newSecrets(), writes{0: w, 1: whole(data)}, nil)
			wantErr(t, "writing "+name, err, storage.ErrTooLarge)
		}
		for name, w := range map[string]storage.SlotWrite{
			"patch at a negative offset": {Writes: patches{{Off: -1, Data: data}}},
			"test at a negative offset":  {Tests: tests{{Off: -1, Len: 1}}},
			"test of a negative length":  {Tests: tests{{Off: 0, Len: -1}}},
			"negative new length":        {NewLength: newLength(-1)},
			"too many tests":             {Tests: make(tests, storage.MaxSlotVectors+1)},
		} {
			if _, err := s.TestAndWrite(t.Context(), si, we, newSecrets(), writes{0: w, 1: whole(data)}, nil); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if _, err := s.TestAndWrite(t.Context(), si, we, newSecrets(), nil, make([]storage.Span, storage.MaxSlotVectors+1)); err == nil {
			t.Error("too many spans: no error")
		}
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: data})
		// Answers are bounded, too.
		big := make([]byte, 2<<20)
		writeSlot(t, s, si, we, writes{1: whole(big), 2: {Tests: make(tests, storage.MaxSlotVectors)}}, nil, true)
		spans := slices.Repeat([]storage.Span{{Off: 0, Len: int64(len(big))}}, storage.MaxSlotAnswer/len(big)+1)
		_, err = s.ReadSlot(t.Context(), si, nil, spans)
		wantErr(t, "reading too much", err, storage.ErrTooLarge)
		_, err = s.TestAndWrite(t.Context(), si, we, newSecrets(), writes{0: {NewLength: newLength(0)}}, spans)
		wantErr(t, "reading too much while writing", err, storage.ErrTooLarge)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: data, 1: big, 2: nil})
	}},
	{"SlotReport", func(t *testing.T, s storage.Server) {
		si, we, data := newIndex(), newEnabler(), content(50)
		writeSlot(t, s, si, we, writes{9: whole(data)}, nil, true)
		for _, reason := range []string{"signature is wrong", "naïve ✗\nsecond line"} {
			if err := s.ReportCorruptSlot(t.Context(), si, 9, reason); err != nil {
				t.Errorf("ReportCorruptSlot(%q): %v", reason, err)
			}
		}
		wantErr(t, "report on a share not held", s.ReportCorruptSlot(t.Context(), si, 8, "x"), storage.ErrNotFound)
		wantSlot(t, s, si, map[storage.ShareNum][]byte{9: data})
	}},
	{"SlotCancelled", func(t *testing.T, s storage.Server) {
		si, we, data := newIndex(), newEnabler(), content(50)
		writeSlot(t, s, si, we, writes{0: whole(data)}, nil, true)
		ctx, cancel := cancelled(t)
		defer cancel()
		if _, err := s.ReadSlot(ctx, si, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("ReadSlot with a cancelled context: %v", err)
		}
		if _, err := s.TestAndWrite(ctx, si, we, newSecrets(), writes{0: {NewLength: newLength(0)}}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("TestAndWrite with a cancelled context: %v", err)
		}
		wantSlot(t, s, si, map[storage.ShareNum][]byte{0: data})
	}},
	{"SlotConcurrentWriters", func(t *testing.T, s storage.Server) {
		// Of those who test for the same state one wins, every round; readers
		// see whole versions only.
		si, we := newIndex(), newEnabler()
		version := func(n byte) []byte { return bytes.Repeat([]byte{n}, 3000+int(n)*7) }
		writeSlot(t, s, si, we, writes{0: whole(version(0))}, nil, true)
		for round := byte(1); round <= 3; round++ {
			var wg sync.WaitGroup
			var mu sync.Mutex
			won := 0
			for range 4 {
				wg.Go(func() {
					now := version(round)
					got, err := s.TestAndWrite(t.Context(), si, we, newSecrets(), writes{0: {
						Tests:  tests{{Off: 0, Len: 1, Specimen: []byte{round - 1}}},
						Writes: patches{{Off: 0, Data: now}}, NewLength: newLength(int64(len(now))),
					}}, nil)
					if err != nil {
						t.Errorf("TestAndWrite: %v", err)
					} else if got.Applied {
						mu.Lock()
						won++
						mu.Unlock()
					}
				})
				wg.Go(func() {
					got, err := s.ReadSlot(t.Context(), si, nil, []storage.Span{{Off: 0, Len: 10000}})
					if err != nil || len(got[0]) != 1 || len(got[0][0]) == 0 || !bytes.Equal(got[0][0], version(got[0][0][0])) {
						t.Errorf("ReadSlot beside writers: not a whole version, %v", err)
					}
				})
			}
			wg.Wait()
			if won != 1 {
				t.Errorf("round %d: %d writers won", round, won)
			}
		}
	}},
}
