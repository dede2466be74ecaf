package storage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSpans(t *testing.T) {
	tests := []struct {
		name    string
		add     []Span
		want    []Span
		missing []Span // of 20
	}{
		{"empty", nil, nil, []Span{{Off: 0, Len: 20}}},
		{"zero length", []Span{{Off: 3, Len: 0}}, nil, []Span{{Off: 0, Len: 20}}},
		{"apart", []Span{{Off: 10, Len: 2}, {Off: 1, Len: 2}}, []Span{{Off: 1, Len: 2}, {Off: 10, Len: 2}}, []Span{{Off: 0, Len: 1}, {Off: 3, Len: 7}, {Off: 12, Len: 8}}},
		{"touching", []Span{{Off: 0, Len: 5}, {Off: 5, Len: 5}}, []Span{{Off: 0, Len: 10}}, []Span{{Off: 10, Len: 10}}},
		{"bridge", []Span{{Off: 0, Len: 2}, {Off: 8, Len: 2}, {Off: 4, Len: 1}, {Off: 1, Len: 8}}, []Span{{Off: 0, Len: 10}}, []Span{{Off: 10, Len: 10}}},
		{"inside", []Span{{Off: 0, Len: 20}, {Off: 3, Len: 4}}, []Span{{Off: 0, Len: 20}}, nil},
		{"beyond", []Span{{Off: 18, Len: 10}}, []Span{{Off: 18, Len: 10}}, []Span{{Off: 0, Len: 18}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ss Spans
			for _, s := range tt.add {
				ss.Add(s)
			}
			if diff := cmp.Diff(tt.want, ss.list); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.missing, ss.Missing(20)); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSpansModel compares the set with one bool for each position.
func TestSpansModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 64
		var ss Spans
		var model [size]bool
		span := rapid.Custom(func(t *rapid.T) Span {
			off := rapid.Int64Range(0, size-1).Draw(t, "off")
			return Span{Off: off, Len: rapid.Int64Range(0, size-off).Draw(t, "len")}
		})
		for range rapid.IntRange(1, 12).Draw(t, "adds") {
			s := span.Draw(t, "add")
			pieces, touches := ss.Pieces(), ss.Touches(s)
			ss.Add(s)
			if !touches && s.Len > 0 && ss.Pieces() != pieces+1 || touches && ss.Pieces() > pieces {
				t.Fatalf("adding %v: pieces %d to %d, Touches %v", s, pieces, ss.Pieces(), touches)
			}
			for i := s.Off; i < s.End(); i++ {
				model[i] = true
			}
		}
		q := span.Draw(t, "query")
		var overlap [size]bool
		for _, s := range ss.Overlap(q) {
			for i := s.Off; i < s.End(); i++ {
				overlap[i] = true
			}
		}
		var missing [size]bool
		for _, s := range ss.Missing(size) {
			for i := s.Off; i < s.End(); i++ {
				missing[i] = true
			}
		}
		covers, bytes := true, int64(0)
		for i := range int64(size) {
			in := i >= q.Off && i < q.End()
			if overlap[i] != (in && model[i]) || missing[i] == model[i] {
				t.Fatalf("position %d: overlap %v missing %v model %v query %v", i, overlap[i], missing[i], model[i], q)
			}
			if in && !model[i] {
				covers = false
			}
			if model[i] {
				bytes++
			}
		}
		if ss.Covers(q) != covers || ss.Bytes() != bytes {
			t.Fatalf("Covers(%v) = %v, Bytes = %d; want %v, %d", q, ss.Covers(q), ss.Bytes(), covers, bytes)
		}
	})
}
