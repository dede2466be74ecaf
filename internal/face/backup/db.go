package backup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// schema is that of the reference, version 2.
var schema = []string{
	`CREATE TABLE version (version INTEGER)`,
	`CREATE TABLE local_files (path VARCHAR(1024) PRIMARY KEY, size INTEGER, mtime NUMBER, ctime NUMBER, fileid INTEGER)`,
	`CREATE TABLE caps (fileid INTEGER PRIMARY KEY AUTOINCREMENT, filecap VARCHAR(256) UNIQUE)`,
	`CREATE TABLE last_upload (fileid INTEGER PRIMARY KEY, last_uploaded TIMESTAMP, last_checked TIMESTAMP)`,
	tableDirectories,
	`INSERT INTO version (version) VALUES (2)`,
}

// tableDirectories is what version 2 added.
const tableDirectories = `CREATE TABLE directories (dirhash varchar(256) PRIMARY KEY, dircap varchar(256), last_uploaded TIMESTAMP, last_checked TIMESTAMP)`

// busy is how long to wait for another process's transaction. Ours are short.
const busy = 30 * time.Second

// DB remembers what was sent. It may be used concurrently, and by several
// processes at once. Losing it loses no backup: the next run takes longer.
type DB struct {
	file string
	sql  *sql.DB
	find *sql.Stmt
}

// Open opens the database in file, and makes it if it is not there.
func Open(file string) (*DB, error) {
	if err := create(file); err != nil {
		return nil, fmt.Errorf("making the database of backups %s: %w", file, err)
	}
	return use(file, "rw")
}

// OpenReadOnly opens the database for looking only. Without a file it is an
// empty one in memory.
func OpenReadOnly(file string) (*DB, error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		db := connect("file::memory:?_pragma=busy_timeout(0)")
		if err := makeTables(db); err != nil {
			return nil, err
		}
		return prepare(db, file)
	}
	return use(file, "ro")
}

func use(file, mode string) (*DB, error) {
	db := connect(address(file, mode))
	if err := upgrade(db, mode == "rw"); err != nil {
		db.Close()
		return nil, fmt.Errorf("the database of backups %s cannot be used: %w (no backup is lost without it: move it away, and the next run takes longer)", file, err)
	}
	return prepare(db, file)
}

// address names a file for SQLite.
func address(file, mode string) string {
	path := filepath.ToSlash(file)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	u := url.URL{Path: path}
	return fmt.Sprintf("file://%s?mode=%s&_pragma=busy_timeout(%d)&_txlock=immediate", u.EscapedPath(), mode, busy.Milliseconds())
}

// connect opens a database with one connection: SQLite lets one write at a
// time anyway.
func connect(address string) *sql.DB {
	db, err := sql.Open("sqlite", address)
	if err != nil { // the driver is there, and parses nothing yet
		panic("backup: internal error: " + err.Error())
	}
	db.SetMaxOpenConns(1)
	return db
}

// create makes file with empty tables unless it is there. It appears whole,
// since the reference takes whatever is there for a database.
func create(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".backupdb-*") // 0600
	if err != nil {
		return err
	}
	temp.Close()
	defer os.Remove(temp.Name())
	db := connect(address(temp.Name(), "rw"))
	err = makeTables(db)
	if e := db.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Link(temp.Name(), file); err == nil || errors.Is(err, fs.ErrExist) {
		return nil // or another process was quicker
	}
	return os.Rename(temp.Name(), file)
}

func makeTables(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, s := range schema {
		if _, err := tx.Exec(s); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// upgrade brings a database of version 1 to version 2.
func upgrade(db *sql.DB, writable bool) error {
	var version int
	if err := db.QueryRow("SELECT version FROM version").Scan(&version); err != nil {
		return err
	}
	if version == 1 && writable {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := tx.QueryRow("SELECT version FROM version").Scan(&version); err != nil {
			return err
		}
		if version == 1 { // still
			for _, s := range []string{tableDirectories, "UPDATE version SET version = 2"} {
				if _, err := tx.Exec(s); err != nil {
					return err
				}
			}
			version = 2
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	if version != 2 {
		return fmt.Errorf("it has version %d; 2 is known", version)
	}
	return nil
}

// findFile joins what is known of a path. The product makes SQLite hand out a
// number whatever it keeps.
const findFile = `SELECT f.size, f.mtime, f.ctime, c.filecap, u.last_checked * 1.0
	FROM local_files f JOIN caps c ON c.fileid = f.fileid JOIN last_upload u ON u.fileid = f.fileid WHERE f.path = ?`

func prepare(db *sql.DB, file string) (*DB, error) {
	find, err := db.Prepare(findFile)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("the database of backups %s cannot be used: %w", file, err)
	}
	return &DB{file: file, sql: db, find: find}, nil
}

// Close ends the use of the database.
func (db *DB) Close() error {
	db.find.Close()
	return db.sql.Close()
}

// Known is where something was put.
type Known struct {
	Cap     caps.Cap
	Checked time.Time // when it was last seen to be whole
}

// File returns where the file at path was put, if it has not changed since as
// far as size and times can tell, in whole seconds. With trust false times do
// not count, and nothing is unchanged.
func (db *DB) File(ctx context.Context, path string, s Stat, trust bool) (k Known, ok bool, err error) {
	if !trust {
		return Known{}, false, nil
	}
	var size, mtime, ctime sql.NullFloat64
	var cap []byte
	var checked sql.NullFloat64
	err = db.find.QueryRowContext(ctx, pathArg(path)).Scan(&size, &mtime, &ctime, &cap, &checked)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Known{}, false, nil
	case err != nil:
		return Known{}, false, db.failed(err)
	case size.Float64 != float64(s.Size), mtime.Float64 != float64(s.Mtime.Unix()), ctime.Float64 != float64(s.Ctime.Unix()):
		return Known{}, false, nil
	}
	k, ok = known(cap, checked.Float64)
	return k, ok, nil
}

// known makes a Known of columns. Not ok if the cap is not one of an immutable
// object: then somebody else has meddled.
func known(text []byte, checked float64) (Known, bool) {
	cap, err := caps.Parse(string(text))
	if err != nil || !Immutable(cap) {
		return Known{}, false
	}
	return Known{cap, fromSeconds(checked)}, true
}

// Immutable reports whether cap stands for something that cannot change and
// can be read.
func Immutable(c caps.Cap) bool {
	switch c := c.(type) {
	case caps.CHK, caps.LIT:
		return true
	case caps.Dir:
		return Immutable(c.File())
	}
	return false
}

// Folder returns the directory with the content that hash stands for.
func (db *DB) Folder(ctx context.Context, hash tagged.Hash) (k Known, ok bool, err error) {
	text := base32.Encode(hash[:])
	var cap []byte
	var checked sql.NullFloat64
	err = db.sql.QueryRowContext(ctx, `SELECT dircap, last_checked * 1.0 FROM directories WHERE dirhash IN (?, ?)`, []byte(text), text).Scan(&cap, &checked)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Known{}, false, nil
	case err != nil:
		return Known{}, false, db.failed(err)
	}
	k, ok = known(cap, checked.Float64)
	return k, ok, nil
}

func (db *DB) failed(err error) error {
	return fmt.Errorf("the database of backups %s: %w", db.file, err)
}

// pathArg is a path for a query. The reference keeps text; what is not UTF-8
// it cannot keep.
func pathArg(path string) any {
	path = databasePath(path)
	if !utf8.ValidString(path) {
		return []byte(path)
	}
	return path
}

// seconds is a time as the reference has it.
func seconds(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())*1e-9 }

func fromSeconds(s float64) time.Time { return time.Unix(0, int64(min(max(s, 0), 9e9)*1e9)) }
