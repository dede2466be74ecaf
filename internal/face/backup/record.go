package backup

import (
	"context"
	"database/sql"
	"os"
	"sync"
	"time"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// record is something to remember.
type record struct {
	cap  caps.Cap
	at   time.Time
	path string       // of a file that was sent
	stat Stat         // as it was when it was read
	hash *tagged.Hash // of the content of a directory that was made
	// neither: cap was checked, and is whole
}

// recorder writes records to the database, many in one transaction: each
// transaction waits for the disk a few times.
//
// A file is remembered as it is after the second in which it last changed is
// over. The database has whole seconds, so that a change in what is left of
// that second would never be seen.
type recorder struct {
	db  *DB
	now func() time.Time

	mu      sync.Mutex // guards below
	waiting []record
	last    time.Time // of the last transaction
}

const (
	recordsAtOnce = 500
	recordEvery   = 2 * time.Second
	// grain is how far behind the clock the times of files may lag.
	grain = 50 * time.Millisecond
)

func newRecorder(db *DB, now func() time.Time) *recorder {
	return &recorder{db: db, now: now, last: now()}
}

// add notes r, and writes what has gathered once that is enough.
func (r *recorder) add(rec record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.at = r.now()
	r.waiting = append(r.waiting, rec)
	if len(r.waiting) < recordsAtOnce && rec.at.Sub(r.last) < recordEvery {
		return nil
	}
	r.last = rec.at
	return r.flush()
}

// close writes the rest. Unless ctx has ended it first waits, less than two
// seconds, until the latest change is long enough ago to be remembered.
func (r *recorder) close(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.flush(); err != nil || len(r.waiting) == 0 {
		return err
	}
	timer := time.NewTimer(time.Second + grain)
	defer timer.Stop()
	select {
	case <-timer.C:
		return r.flush()
	case <-ctx.Done():
		return nil
	}
}

// fresh reports whether a change now could leave the file's times as they are.
func fresh(s Stat, now time.Time) bool {
	edge := now.Add(-grain).Unix()
	return s.Ctime.Unix() == edge || s.Mtime.Unix() == edge || s.Ctime.Unix() == now.Unix() || s.Mtime.Unix() == now.Unix()
}

// flush writes all that may be written. r.mu is held.
func (r *recorder) flush() error {
	now := r.now()
	var write, keep []record
	for _, rec := range r.waiting {
		switch {
		case rec.path == "":
			write = append(write, rec)
		case fresh(rec.stat, now):
			keep = append(keep, rec)
		case unchanged(rec.path, rec.stat):
			write = append(write, rec)
		}
	}
	r.waiting = keep
	if len(write) == 0 {
		return nil
	}
	return r.db.write(write)
}

// unchanged reports whether a file is still as it was when it was read.
func unchanged(path string, was Stat) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	is, err := stat(path, info)
	return err == nil && is.sameContent(was)
}

// sameContent reports whether size and times are equal to the last digit.
func (s Stat) sameContent(o Stat) bool {
	return s.Size == o.Size && s.Mtime.Equal(o.Mtime) && s.Ctime.Equal(o.Ctime) && s.Ino == o.Ino && s.Dev == o.Dev
}

// write stores records in one transaction.
func (db *DB) write(records []record) error {
	tx, err := db.sql.Begin()
	if err != nil {
		return db.failed(err)
	}
	defer tx.Rollback()
	for _, r := range records {
		if err := r.write(tx); err != nil {
			return db.failed(err)
		}
	}
	if err := tx.Commit(); err != nil {
		return db.failed(err)
	}
	return nil
}

// write stores one record. Caps and hashes are blobs, as the reference has
// written and looked for them since it runs on Python 3; older ones are text.
func (r *record) write(tx *sql.Tx) error {
	at := seconds(r.at)
	cap := r.cap.Reveal()
	switch {
	case r.hash != nil:
		_, err := tx.Exec(`REPLACE INTO directories VALUES (?, ?, ?, ?)`, []byte(base32.Encode(r.hash[:])), []byte(cap), at, at)
		return err
	case r.path == "":
		if _, ok := r.cap.(caps.Dir); ok {
			_, err := tx.Exec(`UPDATE directories SET last_checked = ? WHERE dircap IN (?, ?)`, at, []byte(cap), cap)
			return err
		}
		_, err := tx.Exec(`UPDATE last_upload SET last_checked = ? WHERE fileid IN (SELECT fileid FROM caps WHERE filecap IN (?, ?))`, at, []byte(cap), cap)
		return err
	}
	if _, err := tx.Exec(`INSERT OR IGNORE INTO caps (filecap) VALUES (?)`, []byte(cap)); err != nil {
		return err
	}
	var id int64
	if err := tx.QueryRow(`SELECT fileid FROM caps WHERE filecap = ?`, []byte(cap)).Scan(&id); err != nil {
		return err
	}
	if _, err := tx.Exec(`REPLACE INTO last_upload VALUES (?, ?, ?)`, id, at, at); err != nil {
		return err
	}
	_, err := tx.Exec(`REPLACE INTO local_files VALUES (?, ?, ?, ?, ?)`, pathArg(r.path), r.stat.Size, r.stat.Mtime.Unix(), r.stat.Ctime.Unix(), id)
	return err
}
