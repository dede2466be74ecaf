package diskstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/storage"
)

// A share in a slot is changed in place, as the reference does, and the
// system may stop in the middle. So what is to be written is on disk first,
// as a redo file DIR/redo/SI.N: while one is there the share may be old, new
// or between, and whoever looks at it writes the new one again before.
//
//	0    16 bytes "tahoe-go redo 1\n"
//	16   the 64 bytes at 468 of the share file before the change
//	80   u32 number of patches
//	..   patches: u64 offset, u64 length; then the data, or nothing when the
//	     highest bit of length is set, for zeros
//	..   u32 CRC-32C of all before
//
// It has its full name once it is whole, but a disk may not keep its word.
const (
	redoMagic  = "tahoe-go redo 1\n"
	redoHead   = len(redoMagic) + redoBefore + 4
	redoBefore = 64
	redoZeros  = 1 << 63
)

// errRedo means a redo file that cannot be used.
var errRedo = errors.New("not a redo file of this share")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// redoName and redoTemp are names in the redo directory.
func (k key) redoName() string { return k.si.String() + "." + strconv.Itoa(int(k.num)) }
func (k key) redoTemp() string { return k.redoName() + ".new" }

// parseRedoName reads a redo file's name.
func parseRedoName(name string) (key, bool) {
	a, b, _ := strings.Cut(name, ".")
	si, err := ids.ParseIndex(a)
	num, ok := parseNum(b)
	return key{si, num}, err == nil && ok
}

// writeRedo puts a redo file's bytes into f and on disk.
func writeRedo(f file, before [redoBefore]byte, patches []patch) error {
	sum := crc32.New(castagnoli)
	w := bufio.NewWriter(io.MultiWriter(sum, io.NewOffsetWriter(f, 0)))
	w.WriteString(redoMagic)
	w.Write(before[:])
	w.Write(u32(uint32(len(patches))))
	for _, p := range patches {
		length := uint64(len(p.data))
		if p.data == nil {
			length = redoZeros | uint64(p.zeros)
		}
		w.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(p.off)), length))
		w.Write(p.data)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(sum.Sum(nil), size); err != nil {
		return err
	}
	return f.Sync()
}

// redoFile is a redo file whose sum is right.
type redoFile struct {
	f       file
	end     int64 // of the patches
	before  [redoBefore]byte
	patches uint32
	buf     []byte
}

// readRedo checks a whole redo file. Nothing in it is believed before.
func readRedo(f file) (*redoFile, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < int64(redoHead+4) {
		return nil, fmt.Errorf("%w: %d bytes", errRedo, size)
	}
	r := &redoFile{f: f, end: size - 4, buf: make([]byte, min(size, 256<<10))}
	sum := crc32.New(castagnoli)
	if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.NewSectionReader(f, 0, r.end), r.buf); err != nil {
		return nil, err
	}
	head := make([]byte, redoHead+4)
	if _, err := f.ReadAt(head[redoHead:], r.end); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(head[redoHead:]) != sum.Sum32() {
		return nil, fmt.Errorf("%w: wrong sum", errRedo)
	}
	if _, err := f.ReadAt(head[:redoHead], 0); err != nil {
		return nil, err
	}
	if string(head[:len(redoMagic)]) != redoMagic {
		return nil, fmt.Errorf("%w: unknown magic", errRedo)
	}
	copy(r.before[:], head[len(redoMagic):])
	r.patches = binary.BigEndian.Uint32(head[redoHead-4:])
	return r, nil
}

// each calls do for the patches in order, large ones in pieces. Their data is
// good until do returns.
func (r *redoFile) each(do func(patch) error) error {
	in := bufio.NewReaderSize(io.NewSectionReader(r.f, int64(redoHead), r.end-int64(redoHead)), 4<<10)
	for range r.patches {
		var h [16]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			return cutShort(err)
		}
		off, length := binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])
		n := length &^ redoZeros
		if off > math.MaxInt64 || n > math.MaxInt64-off {
			return fmt.Errorf("%w: patch of %d bytes at %d", errRedo, n, off)
		}
		if length != n {
			if err := do(patch{off: int64(off), zeros: int64(n)}); err != nil {
				return err
			}
			continue
		}
		for n > 0 {
			piece := r.buf[:min(n, uint64(len(r.buf)))]
			if _, err := io.ReadFull(in, piece); err != nil {
				return cutShort(err)
			}
			if err := do(patch{off: int64(off), data: piece}); err != nil {
				return err
			}
			off, n = off+uint64(len(piece)), n-uint64(len(piece))
		}
	}
	return nil
}

// cutShort tells the end of a redo file from a disk that cannot be read.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", errRedo)
	}
	return err
}

// fits says whether the redo file was made for a share file that now has the
// bytes now at 468: each of them is as it was before, or as the patches make
// it. If not, another program has changed the share since, and to write parts
// of an old version into it would ruin it.
func (r *redoFile) fits(now [redoBefore]byte) error {
	after := r.before
	err := r.each(func(p patch) error {
		for i := range after {
			at := slotDataOff + int64(i) - p.off
			if at >= 0 && at < int64(len(p.data)) {
				after[i] = p.data[at]
			} else if at >= 0 && at < p.zeros {
				after[i] = 0
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, b := range now {
		if b != r.before[i] && b != after[i] {
			return fmt.Errorf("%w: the share was changed since", errRedo)
		}
	}
	return nil
}

// readBefore returns the bytes at 468, zeros past the end of the file.
func readBefore(f file) (b [redoBefore]byte, err error) {
	if _, err = f.ReadAt(b[:], slotDataOff); errors.Is(err, io.EOF) {
		err = nil
	}
	return b, err
}

// isPending reports whether a share of si has a redo file.
func (s *Store) isPending(si storage.Index) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.pending {
		if k.si == si {
			return true
		}
	}
	return false
}

// setPending notes that a redo file is there, or is gone.
func (s *Store) setPending(k key, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if there {
		s.pending[k] = struct{}{}
	} else {
		delete(s.pending, k)
	}
}

// lockForReading holds the stripe of si with none of its shares pending.
func (s *Store) lockForReading(si storage.Index) (unlock func(), err error) {
	stripe := s.stripe(si)
	stripe.RLock()
	if !s.isPending(si) {
		return stripe.RUnlock, nil
	}
	stripe.RUnlock()
	stripe.Lock()
	if err := s.rollForward(si); err != nil {
		stripe.Unlock()
		return nil, err
	}
	return stripe.Unlock, nil
}

// rollForward finishes changes of si that were begun, by this process or an
// earlier one. The caller holds the stripe.
func (s *Store) rollForward(si storage.Index) error {
	if !s.isPending(si) {
		return nil
	}
	for num := range 256 {
		k := key{si, storage.ShareNum(num)}
		s.mu.Lock()
		_, pending := s.pending[k]
		s.mu.Unlock()
		if !pending {
			continue
		}
		if err := s.recover(k); err != nil {
			return fmt.Errorf("finishing a change of share %d: %w", num, err)
		}
	}
	return nil
}

// recover does a redo file that perhaps is not on disk yet: then the power
// may fail while the share is between old and new.
func (s *Store) recover(k key) error {
	f, err := s.redo.Open(k.redoName(), true)
	if errors.Is(err, fs.ErrNotExist) {
		s.setPending(k, false)
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := s.redo.SyncDir("."); err != nil {
		return err
	}
	return s.applyRedo(k)
}

// applyRedo does a redo file that is on disk, and removes it.
func (s *Store) applyRedo(k key) error {
	redo, err := s.redo.Open(k.redoName(), false)
	if err != nil {
		return err
	}
	err = errors.Join(s.redoInto(k, redo), redo.Close())
	if errors.Is(err, errRedo) {
		s.cfg.Log.Warn("dropping a redo file", "si", k.si.Short(), "shnum", k.num, "err", err)
		err = nil
	}
	if err != nil {
		return err
	}
	return s.dropRedo(k)
}

// dropRedo removes a redo file whose share is new and on disk.
func (s *Store) dropRedo(k key) error {
	if err := s.redo.Remove(k.redoName()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.redoDirty.Store(true)
	s.setPending(k, false)
	return nil
}

// applyNow does what a redo file says that this process has just put on disk,
// without reading it. If that fails the redo file is left for whoever comes
// next.
func (s *Store) applyNow(k key, patches []patch) error {
	f, err := s.shares.Open(k.path(), true)
	if err != nil {
		return err
	}
	if err := errors.Join(putAll(f, patches), f.Close()); err != nil {
		return err
	}
	return s.dropRedo(k)
}

func putAll(f file, patches []patch) error {
	for _, p := range patches {
		if err := p.put(f); err != nil {
			return err
		}
	}
	return f.Sync()
}

// redoInto writes the new share.
func (s *Store) redoInto(k key, redo file) error {
	f, err := s.shares.Open(k.path(), true)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the share is gone", errRedo)
	}
	if err != nil {
		return err
	}
	return errors.Join(redoTo(f, redo), f.Close())
}

func redoTo(f, redo file) error {
	r, err := readRedo(redo)
	if err != nil {
		return err
	}
	now, err := readBefore(f)
	if err != nil {
		return err
	}
	if err := r.fits(now); err != nil {
		return err
	}
	if err := r.each(func(p patch) error { return p.put(f) }); err != nil {
		return err
	}
	return f.Sync()
}

// syncRedo makes sure that no redo file comes back that was removed.
func (s *Store) syncRedo() error {
	s.redoSyncing.Lock()
	defer s.redoSyncing.Unlock()
	if !s.redoDirty.Swap(false) {
		return nil
	}
	err := s.redo.SyncDir(".")
	if err != nil {
		s.redoDirty.Store(true)
	}
	return err
}

// openRedo finishes what an earlier process began. What cannot be finished
// now stays, and so does the share, out of reach.
func (s *Store) openRedo() error {
	names, err := s.redo.ReadDir(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		k, ok := parseRedoName(name)
		if !ok {
			if strings.HasSuffix(name, ".new") {
				err = errors.Join(err, s.redo.Remove(name))
			}
			continue
		}
		s.setPending(k, true)
		if err := s.recover(k); err != nil {
			s.cfg.Log.Warn("cannot finish a change", "si", k.si.Short(), "shnum", k.num, "err", err)
		}
	}
	return errors.Join(err, s.redo.SyncDir("."))
}
