package mutable

import (
	"context"
	"fmt"

	"tahoe-go/internal/format/ssk"
)

// NewerError says that a repair, or a change of what an older version holds,
// would put it above a newer one, of which too few shares can be had now.
type NewerError struct{ Version, Newer ssk.Version }

// Error says what can be done.
func (e *NewerError) Error() string {
	return fmt.Sprintf("only version %d can be read, but a newer one, %d, exists and would be given up; try again when more servers are connected", e.Version.Seqnum, e.Newer.Seqnum)
}

// Repair writes the newest version that can be read anew, as a version of its
// own: shares that are missing, damaged or of other versions are replaced.
// *NewerError, unless force, when shares of a newer version exist, or one was
// read or written here before.
func (f *File) Repair(ctx context.Context, force bool, tr *Trace) error {
	if _, err := f.writable(); err != nil {
		return err
	}
	if err := f.o.lock(ctx); err != nil {
		return err
	}
	defer f.o.unlock()
	same := func(old []byte) ([]byte, error) { return old, nil }
	return f.retry(ctx, same, func(out *outage) error {
		s, err := f.surveyToWrite(ctx, out, tr)
		if err != nil {
			return err
		}
		text, v, s, err := s.read(ctx)
		if err != nil {
			return err
		}
		m := s.view()
		newest := m.versions()[0].Version
		if known := f.o.newestSeen(); known.Compare(newest) > 0 {
			newest = known
		}
		if newest.Compare(v) > 0 && !force {
			return &NewerError{v, newest}
		}
		return f.overwrite(ctx, m, text, tr)
	}, tr)
}
