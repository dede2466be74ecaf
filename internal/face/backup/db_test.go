package backup

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/format/caps"
)

// What testdata/golden.sqlite has in it, as the reference wrote it.
const (
	goldenCap = "URI:CHK:4yy3nsm5rfw4ry5frhgq2hbguy:cpj2c2ngxzsiiw6xhkyd7r4pr6tcx3lyrkpn2ypa4gvrfwmtphia:3:10:100"
	goldenDir = "URI:DIR2-CHK:4yy3nsm5rfw4ry5frhgq2hbguy:cpj2c2ngxzsiiw6xhkyd7r4pr6tcx3lyrkpn2ypa4gvrfwmtphia:3:10:200"
)

func goldenStat() Stat {
	return Stat{Size: 100, Mtime: time.Unix(1600000000, 999), Ctime: time.Unix(1600000100, 500e6)}
}

// golden is a copy of the reference's database.
func golden(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backupdb.sqlite")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func openDB(t *testing.T, file string) *DB {
	t.Helper()
	db, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newDB(t *testing.T) *DB { return openDB(t, filepath.Join(t.TempDir(), "backupdb.sqlite")) }

// layout lists tables, columns, types, keys and indexes.
func layout(t *testing.T, db *DB) []string {
	t.Helper()
	rows, err := db.sql.Query(`SELECT m.name, p.cid, p.name, p.type, p."notnull", ifnull(p.dflt_value, ''), p.pk,
		ifnull((SELECT group_concat(i.origin || i."unique" || i.partial) FROM pragma_index_list(m.name) i), '')
		FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' ORDER BY m.name, p.cid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		c := make([]string, 8)
		if err := rows.Scan(&c[0], &c[1], &c[2], &c[3], &c[4], &c[5], &c[6], &c[7]); err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.Join(c, " "))
	}
	var autoincrement string
	if err := db.sql.QueryRow(`SELECT group_concat(name) FROM sqlite_master WHERE sql LIKE '%autoincrement%'`).Scan(&autoincrement); err != nil {
		t.Fatal(err)
	}
	return append(out, "autoincrement: "+autoincrement)
}

func TestSchemaIsTheReferences(t *testing.T) {
	want, got := layout(t, openDB(t, golden(t))), layout(t, newDB(t))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables differ (-reference +ours):\n%s", diff)
	}
	if len(want) < 15 {
		t.Errorf("the reference's tables have %d columns in all: %v", len(want), want)
	}
}

func TestReadGolden(t *testing.T) {
	db := openDB(t, golden(t))
	k, ok, err := db.File(t.Context(), "/home/anna/letter", goldenStat(), true)
	if err != nil || !ok || k.Cap.Reveal() != goldenCap || k.Checked.Round(time.Millisecond).UnixMilli() != 1700000000250 {
		t.Errorf("letter: %v, %v, %v", k, ok, err)
	}
	k, ok, err = db.File(t.Context(), "/home/anna/ä", Stat{Size: 2, Mtime: time.Unix(1600000001, 0), Ctime: time.Unix(1600000101, 0)}, true)
	if err != nil || !ok || k.Cap.Reveal() != "URI:LIT:mfra" {
		t.Errorf("ä: %v, %v, %v", k, ok, err)
	}
	letter, _ := caps.Parse(goldenCap)
	a, _ := caps.Parse("URI:LIT:mfra")
	hash, complete := contentHash(&Item{Items: []*Item{{Name: "letter", cap: letter}, {Name: "ä", cap: a}}})
	k, ok, err = db.Folder(t.Context(), hash)
	if err != nil || !complete || !ok || k.Cap.Reveal() != goldenDir {
		t.Errorf("folder %s: %v, %v, %v", base32.Encode(hash[:]), k, ok, err)
	}
}

func TestFileChanged(t *testing.T) {
	db := openDB(t, golden(t))
	for name, change := range map[string]func(s *Stat){
		"size":  func(s *Stat) { s.Size++ },
		"mtime": func(s *Stat) { s.Mtime = s.Mtime.Add(time.Second) },
		"ctime": func(s *Stat) { s.Ctime = s.Ctime.Add(-time.Second) },
	} {
		s := goldenStat()
		change(&s)
		if _, ok, err := db.File(t.Context(), "/home/anna/letter", s, true); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	if _, ok, _ := db.File(t.Context(), "/home/anna/letter", goldenStat(), false); ok {
		t.Error("times that are not to be trusted are")
	}
	if _, ok, _ := db.File(t.Context(), "/home/anna/other", goldenStat(), true); ok {
		t.Error("a file that was never sent is known")
	}
}

// dump is all rows of a table, with their types.
func dump(t *testing.T, db *DB, query string) []string {
	t.Helper()
	rows, err := db.sql.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	var out []string
	for rows.Next() {
		c := make([]sql.NullString, len(columns))
		p := make([]any, len(c))
		for i := range c {
			p[i] = &c[i]
		}
		if err := rows.Scan(p...); err != nil {
			t.Fatal(err)
		}
		line := ""
		for _, v := range c {
			line += " " + v.String
		}
		out = append(out, line)
	}
	return out
}

// The same facts leave the same rows, types and all, as the reference leaves.
func TestWriteAsTheReference(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b.sqlite")
	ours, theirs := openDB(t, file), openDB(t, golden(t))
	at := time.Unix(1700000000, 250e6)
	letter, _ := caps.Parse(goldenCap)
	a, _ := caps.Parse("URI:LIT:mfra")
	dir, _ := caps.Parse(goldenDir)
	hash, _ := contentHash(&Item{Items: []*Item{{Name: "letter", cap: letter}, {Name: "ä", cap: a}}})
	records := []record{
		{cap: letter, at: at, path: "/home/anna/letter", stat: goldenStat()},
		{cap: a, at: at, path: "/home/anna/ä", stat: Stat{Size: 2, Mtime: time.Unix(1600000001, 0), Ctime: time.Unix(1600000101, 0)}},
		{cap: dir, at: at, hash: &hash},
	}
	for range 2 { // and again: nothing changes
		if err := ours.write(records); err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{
			`SELECT typeof(path), path, typeof(size), size, typeof(mtime), mtime, typeof(ctime), ctime, fileid FROM local_files ORDER BY path`,
			`SELECT fileid, typeof(filecap), CAST(filecap AS TEXT) FROM caps ORDER BY fileid`,
			`SELECT fileid, typeof(last_uploaded), last_uploaded*1.0, typeof(last_checked), last_checked*1.0 FROM last_upload ORDER BY fileid`,
			`SELECT typeof(dirhash), CAST(dirhash AS TEXT), typeof(dircap), CAST(dircap AS TEXT), last_uploaded*1.0, last_checked*1.0 FROM directories`,
			`SELECT version FROM version`,
		} {
			if diff := cmp.Diff(dump(t, theirs, q), dump(t, ours, q)); diff != "" {
				t.Errorf("%s: -reference +ours:\n%s", q, diff)
			}
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read the database: %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".backupdb*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestChecked(t *testing.T) {
	db := openDB(t, golden(t))
	later := time.Unix(1800000000, 0)
	for _, text := range []string{goldenCap, goldenDir} {
		cap, _ := caps.Parse(text)
		if err := db.write([]record{{cap: cap, at: later}}); err != nil {
			t.Fatal(err)
		}
	}
	k, ok, err := db.File(t.Context(), "/home/anna/letter", goldenStat(), true)
	if err != nil || !ok || !k.Checked.Equal(later) {
		t.Errorf("letter: %v, %v, %v", k.Checked, ok, err)
	}
	if got := dump(t, db, `SELECT last_uploaded*1.0, last_checked*1.0 FROM directories`); !slices.Equal(got, []string{" 1.70000000025e+09 1.8e+09"}) {
		t.Errorf("folder: %q", got)
	}
}

// Databases from before directories were remembered are brought up to date.
func TestUpgrade(t *testing.T) {
	file := golden(t)
	db := openDB(t, file)
	for _, s := range []string{"DROP TABLE directories", "UPDATE version SET version = 1"} {
		if _, err := db.sql.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	if _, err := OpenReadOnly(file); err == nil {
		t.Error("a reader upgraded the database")
	}
	if diff := cmp.Diff(layout(t, newDB(t)), layout(t, openDB(t, file))); diff != "" {
		t.Error(diff)
	}
	if _, ok, err := openDB(t, file).File(t.Context(), "/home/anna/letter", goldenStat(), true); !ok || err != nil {
		t.Errorf("letter: %v, %v", ok, err)
	}
}

func TestUnusable(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "junk": strings.Repeat("junk", 5000)} {
		file := filepath.Join(t.TempDir(), "backupdb.sqlite")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(file); err == nil || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(file); string(b) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
	file := golden(t)
	db := openDB(t, file)
	db.sql.Exec("UPDATE version SET version = 3")
	db.Close()
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("version 3: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none", "backupdb.sqlite")); err == nil {
		t.Error("made a database in a folder that is not there")
	}
}

func TestReadOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "backupdb.sqlite")
	db, err := OpenReadOnly(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := db.File(t.Context(), "/x", Stat{}, true); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	db.Close()
	if _, err := os.Stat(file); err == nil {
		t.Error("looking made a database")
	}
	db, err = OpenReadOnly(golden(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, ok, err := db.File(t.Context(), "/home/anna/letter", goldenStat(), true); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	cap, _ := caps.Parse(goldenCap)
	if err := db.write([]record{{cap: cap, at: time.Unix(0, 0)}}); err == nil {
		t.Error("looking wrote")
	}
}

// Odd names of files find their way through SQLite's own URLs.
func TestOddFileName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a ?b#c%20d&e=ä")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "backupdb.sqlite")
	openDB(t, file)
	if names, _ := os.ReadDir(dir); len(names) != 1 || names[0].Name() != "backupdb.sqlite" {
		t.Errorf("made %v", names)
	}
}

// Two programs with the database open, both writing: nothing is lost, and
// nobody fails. They make the file at the same time, too.
func TestTwoWriters(t *testing.T) {
	file := filepath.Join(t.TempDir(), "backupdb.sqlite")
	const each = 30
	var wg sync.WaitGroup
	for who := range 3 {
		wg.Go(func() {
			db, err := Open(file)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			for i := range each {
				cap := caps.NewLIT(fmt.Append(nil, i)) // the same ones
				path := fmt.Sprintf("/%d/%d", who, i)
				if err := db.write([]record{{cap: cap, path: path, at: time.Unix(9, 0), stat: Stat{Size: int64(i)}}}); err != nil {
					t.Error(err)
				}
				if _, ok, err := db.File(context.Background(), path, Stat{Size: int64(i)}, true); err != nil || !ok {
					t.Error(path, ok, err)
				}
			}
		})
	}
	wg.Wait()
	db := openDB(t, file)
	want := []string{fmt.Sprintf(" %d %d", 3*each, each)}
	if got := dump(t, db, `SELECT (SELECT count(*) FROM local_files), (SELECT count(*) FROM caps)`); !slices.Equal(got, want) {
		t.Errorf("%q rows, want %q", got, want)
	}
}

// What somebody else has put into the database is not believed.
func TestHostileDatabase(t *testing.T) {
	db := openDB(t, golden(t))
	for _, cap := range []string{"", "URI:SSK:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x", "URI:CHK-Verifier:a:b:1:1:1"} {
		if _, err := db.sql.Exec(`UPDATE caps SET filecap = ? WHERE fileid = 1`, cap); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := db.File(t.Context(), "/home/anna/letter", goldenStat(), true); ok || err != nil {
			t.Errorf("%q: %v, %v", cap, ok, err)
		}
	}
	for _, set := range []string{"size = 'x'", "mtime = NULL", "ctime = x'00'", "fileid = 'y'"} {
		db.sql.Exec(`UPDATE local_files SET ` + set)
		if _, ok, _ := db.File(t.Context(), "/home/anna/letter", goldenStat(), true); ok {
			t.Errorf("%s: is believed", set)
		}
	}
	var h tagged.Hash
	if _, ok, err := db.Folder(t.Context(), h); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
