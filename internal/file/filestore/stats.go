package filestore

import (
	"context"
	"encoding/json"
	"math"
	"math/big"

	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
)

// Stats counts what a walk finds. Its JSON is that of the web API's
// deep-stats. Sizes are in bytes; those of mutable files are not known.
type Stats struct {
	ImmutableFiles           int64
	MutableFiles             int64
	LiteralFiles             int64
	Files                    int64
	Directories              int64
	Unknown                  int64
	SizeImmutableFiles       int64
	SizeLiteralFiles         int64
	SizeDirectories          int64
	LargestDirectory         int64 // in bytes
	LargestDirectoryChildren int64
	LargestImmutableFile     int64
	Histogram                []Bucket // of immutable files, without empty ones
}

// Bucket counts the files of Min to Max bytes.
type Bucket struct{ Min, Max, Count int64 }

// Add counts an object.
func (s *Stats) Add(i Item) {
	switch i.Type() {
	case dirtable.Directory:
		s.Directories++
	case dirtable.Any:
		s.Unknown++
	case dirtable.File:
		s.Files++
		s.addFile(i.Cap())
	}
}

func (s *Stats) addFile(c caps.Cap) {
	size, immutable := caps.Size(c)
	if !immutable {
		s.MutableFiles++
		return
	}
	s.histogram(size)
	if _, literal := c.(caps.LIT); literal {
		s.LiteralFiles++
		add(&s.SizeLiteralFiles, size)
		return
	}
	s.ImmutableFiles++
	add(&s.SizeImmutableFiles, size)
	s.LargestImmutableFile = max(s.LargestImmutableFile, size)
}

// AddListed counts what a directory holds.
func (s *Stats) AddListed(size int64, children int) {
	add(&s.SizeDirectories, size)
	s.LargestDirectory = max(s.LargestDirectory, size)
	s.LargestDirectoryChildren = max(s.LargestDirectoryChildren, int64(children))
}

// DeepSize is the web API's deep-size: what is kept on servers, before
// encoding and without mutable files.
func (s *Stats) DeepSize() int64 {
	sum := s.SizeImmutableFiles
	add(&sum, s.SizeDirectories)
	return sum
}

// add adds sizes; those in caps may be anything.
func add(sum *int64, n int64) { *sum += min(n, math.MaxInt64-*sum) }

// histogram counts a size. Buckets end at powers of the root of ten, the first
// two at 0 and 3.
func (s *Stats) histogram(size int64) {
	lower, upper := int64(0), int64(0)
	for n := 1; size > upper; n++ {
		lower, upper = upper+1, rootOfTen(n)
	}
	for i := range s.Histogram {
		switch b := &s.Histogram[i]; {
		case b.Min == lower:
			b.Count++
			return
		case b.Min > lower:
			s.Histogram = append(s.Histogram[:i+1], s.Histogram[i:]...)
			s.Histogram[i] = Bucket{lower, upper, 1}
			return
		}
	}
	s.Histogram = append(s.Histogram, Bucket{lower, upper, 1})
}

// rootOfTen is the root of ten to the power of n, rounded down.
func rootOfTen(n int) int64 {
	x := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	if x.Sqrt(x); !x.IsInt64() {
		return math.MaxInt64
	}
	return x.Int64()
}

// MarshalJSON writes the object of deep-stats.
func (s *Stats) MarshalJSON() ([]byte, error) {
	histogram := make([][3]int64, 0, len(s.Histogram))
	for _, b := range s.Histogram {
		histogram = append(histogram, [3]int64{b.Min, b.Max, b.Count})
	}
	return json.Marshal(struct {
		APIVersion               int        `json:"api-version"`
		ImmutableFiles           int64      `json:"count-immutable-files"`
		MutableFiles             int64      `json:"count-mutable-files"`
		LiteralFiles             int64      `json:"count-literal-files"`
		Files                    int64      `json:"count-files"`
		Directories              int64      `json:"count-directories"`
		Unknown                  int64      `json:"count-unknown"`
		SizeImmutableFiles       int64      `json:"size-immutable-files"`
		SizeLiteralFiles         int64      `json:"size-literal-files"`
		SizeDirectories          int64      `json:"size-directories"`
		LargestDirectory         int64      `json:"largest-directory"`
		LargestDirectoryChildren int64      `json:"largest-directory-children"`
		LargestImmutableFile     int64      `json:"largest-immutable-file"`
		Histogram                [][3]int64 `json:"size-files-histogram"`
	}{
		1, s.ImmutableFiles, s.MutableFiles, s.LiteralFiles, s.Files, s.Directories, s.Unknown, s.SizeImmutableFiles, s.SizeLiteralFiles,
		s.SizeDirectories, s.LargestDirectory, s.LargestDirectoryChildren, s.LargestImmutableFile, histogram,
	})
}

// Manifest walks as Walk does, gives each object to each, and counts. each may
// be nil. What was counted until an error is returned with it.
func (s *Store) Manifest(ctx context.Context, root *directory.Directory, each func(Item) error) (*Stats, error) {
	stats := &Stats{}
	err := s.Walk(ctx, root, Visitor{
		Visit: func(i Item) error {
			stats.Add(i)
			if each == nil {
				return nil
			}
			return each(i)
		},
		Listed: func(_ Item, size int64, children int) error {
			stats.AddListed(size, children)
			return nil
		},
	})
	return stats, err
}

// Line is an object of a manifest as a line of JSON holds it, for the web
// API's stream-manifest. It holds the texts of caps: it is for those who gave
// the root's, and for nobody's log.
type Line struct {
	Type         string   `json:"type"` // "file", "directory" or "unknown"
	Path         []string `json:"path"`
	Cap          string   `json:"cap"`
	VerifyCap    string   `json:"verifycap"`
	RepairCap    string   `json:"repaircap"`
	StorageIndex string   `json:"storage-index"`
}

// RevealLine is what a manifest says of i.
func (i Item) RevealLine() Line {
	l := Line{Type: "unknown", Path: i.Path}
	if l.Path == nil {
		l.Path = []string{}
	}
	switch i.Type() {
	case dirtable.File:
		l.Type = "file"
	case dirtable.Directory:
		l.Type = "directory"
	}
	c := i.Cap()
	if c == nil {
		return l
	}
	l.Cap = c.Reveal()
	if v, ok := caps.Verifier(c); ok {
		l.VerifyCap = v.Reveal()
	}
	if r, ok := caps.Repair(c); ok {
		l.RepairCap = r.Reveal()
	}
	if si, ok := caps.Index(c); ok {
		l.StorageIndex = si.String()
	}
	return l
}
