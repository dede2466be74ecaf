package webapi

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

func indexOf(t *testing.T, text string) storage.Index {
	t.Helper()
	c, err := caps.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	si, ok := caps.Index(c)
	if !ok {
		t.Fatal("no storage index")
	}
	return si
}

// lose takes shares of an object from every server.
func (g *gateway) lose(t *testing.T, text string, nums ...storage.ShareNum) {
	t.Helper()
	si := indexOf(t, text)
	for _, num := range nums {
		if !slices.ContainsFunc(g.grid.stores, func(m *memstore.Store) bool { return m.Delete(si, num) }) {
			t.Errorf("there is no share %d", num)
		}
	}
}

// damage flips a bit of shares of an object.
func (g *gateway) damage(t *testing.T, text string, nums ...storage.ShareNum) {
	t.Helper()
	for _, m := range g.grid.stores {
		for _, num := range nums {
			m.Change(indexOf(t, text), num, func(b []byte) { b[len(b)/2] ^= 1 })
		}
	}
}

// shares are the bytes of an immutable object's shares.
func (g *gateway) shares(t *testing.T, text string) map[storage.ShareNum]string {
	t.Helper()
	out := map[storage.ShareNum]string{}
	for _, m := range g.grid.stores {
		held, err := m.Shares(t.Context(), indexOf(t, text))
		if err != nil {
			t.Fatal(err)
		}
		for num, r := range held {
			b := make([]byte, 1<<20)
			n, err := r.ReadAt(t.Context(), b, 0)
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			out[num] = string(b[:n])
		}
	}
	return out
}

// repairJSON is a repair's result as a client sees it.
type repairJSON struct {
	Attempted  bool   `json:"repair-attempted"`
	Successful *bool  `json:"repair-successful"`
	Failure    string `json:"repair-failure"`
	Before     *found `json:"pre-repair-results"`
	After      *found `json:"post-repair-results"`
}

type found struct {
	Summary string
	Results struct {
		Healthy     bool
		Recoverable bool
		Good        int `json:"count-shares-good"`
		Corrupt     int `json:"count-corrupt-shares"`
		Wrong       int `json:"count-wrong-shares"`
	}
}

func (g *gateway) repair(t *testing.T, text, more string) (r repairJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.send(t, "POST", "/uri/"+text+"?t=check&repair=true&output=JSON"+more, "", 200)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// The lost shares of an immutable file come back, byte for byte, for whoever
// has its verify cap.
func TestRepairFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 5, nil)
		file := g.put(t, pattern(50_000))
		c, err := caps.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := caps.Verifier(c)
		whole := g.shares(t, file)
		if page := g.ask(t, "GET", "/uri/"+v.Reveal()+"?t=info", 200); !strings.Contains(page, `name="repair"`) || !strings.Contains(page, "grants checking and repairing only") {
			t.Errorf("a page of a verify cap offers no repair: %s", page)
		}
		g.lose(t, file, 1, 3)
		r := g.repair(t, v.Reveal(), "")
		if !r.Attempted || r.Successful == nil || !*r.Successful || r.Failure != "" || r.Before.Results.Good != 3 || !r.Before.Results.Recoverable ||
			r.After.Results.Good != 5 || !r.After.Results.Healthy || r.After.Summary != "Healthy" || r.After.Results.Wrong != 0 {
			t.Errorf("%+v", r)
		}
		if got := g.shares(t, file); !maps.Equal(got, whole) {
			t.Error("the shares are others")
		}
		if r := g.repair(t, file, ""); r.Attempted || !*r.Successful {
			t.Errorf("once more: %+v", r)
		}

		g.lose(t, file, 2)
		if page := g.send(t, "POST", "/uri/"+file+"?t=check&repair=true", "", 200); !strings.Contains(page, "<b>Repaired.</b> Before: Not Healthy: 4 shares (enc 3-of-5).") {
			t.Errorf("the page is %s", page)
		}

		// A damaged share stays where it is, and another server gets a good one.
		g.damage(t, file, 4)
		if r := g.repair(t, file, "&verify=true"); !*r.Successful || r.Before.Results.Corrupt != 1 || r.After.Results.Corrupt != 1 || r.After.Results.Good != 5 {
			t.Errorf("%+v", r)
		}

		// Nobody takes it.
		g.lose(t, file, 0)
		g.always(faultstore.Allocate, faultstore.Fault{Refuse: true})
		if r := g.repair(t, file, ""); !r.Attempted || *r.Successful || !strings.Contains(r.Failure, "1 of 5") || r.After.Results.Good != 4 {
			t.Errorf("%+v", r)
		}
		page := g.send(t, "POST", "/uri/"+file+"?t=check&repair=true", "", 200)
		for _, want := range []string{"<b>It was not repaired.</b>", "No server took the shares that are missing, 1 of 5.", "What servers said", "<td>server 2</td><td>took no (more) shares"} {
			if !strings.Contains(page, want) {
				t.Errorf("no %q in %s", want, page)
			}
		}

		// Too few are left. (Of share 4 two servers have a copy.)
		g.lose(t, file, 1, 2)
		if r := g.repair(t, file, "&verify=true"); r.Attempted || *r.Successful || !strings.HasPrefix(r.Failure, "Of the 3 shares that it takes to repair it 2 were") {
			t.Errorf("%+v", r)
		}
		if page := g.send(t, "POST", "/uri/"+file+"?t=check&repair=true&verify=true", "", 200); !strings.Contains(page, "<b>It was not repaired.</b>") || !strings.Contains(page, "cannot be read now") {
			t.Errorf("%s", page)
		}
	})
}

// A tree with something unhealthy of each kind.
func TestRepairTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, 6, nil) // one more than there are shares
		dir := g.mkdir(t)
		put := func(path, content string) string {
			t.Helper()
			return g.send(t, "PUT", "/uri/"+dir+"/"+path, content, 201)
		}
		big := string(pattern(5000))
		lost, damaged, gone := put("sub/lost", big), put("sub/damaged", big[:4000]), put("sub/gone", big[:3000])
		put("sub/whole", big[:2000])
		put("sub/literal", "tiny")
		mutable := put("m?format=mdmf", "mutable")
		dead := put("dead?format=sdmf", "dead")
		readonly := g.ask(t, "GET", "/uri/"+g.send(t, "PUT", "/uri?format=sdmf", "not ours", 200)+"?t=readonly-uri", 200)
		g.send(t, "PUT", "/uri/"+dir+"/ro?t=uri", readonly, 200)
		g.send(t, "PUT", "/uri/"+dir+"/unknown?t=uri", "imm.x-future:foo", 200)
		immutable := g.send(t, "POST", "/uri?t=mkdir-immutable", `{"a": ["filenode", {"ro_uri": "`+lost+`"}], "b": ["filenode", {"ro_uri": "`+gone+`"}]}`, 200)
		g.send(t, "PUT", "/uri/"+dir+"/imm?t=uri", immutable, 200)
		whole := g.shares(t, lost)
		wholeDir := g.shares(t, immutable)
		g.lose(t, lost, 0, 4)
		g.damage(t, damaged, 2)
		g.lose(t, gone, 0, 1, 2)
		g.lose(t, mutable, 3)
		g.lose(t, dead, 1, 2, 3)
		g.lose(t, readonly, 3)
		g.lose(t, immutable, 1)
		g.lose(t, dir, 2)

		g.ask(t, "POST", "/uri/"+dir+"?t=start-deep-check&repair=true&verify=true&ophandle=h", 302)
		synctest.Wait()
		if page := g.ask(t, "GET", "/uri/"+dir+"?t=info", 200); strings.Count(page, `name="repair"`) != 2 {
			t.Errorf("the page of a directory does not offer to repair it and all below: %s", page)
		}
		if page := g.ask(t, "GET", "/uri/"+readonly+"?t=info", 200); strings.Contains(page, `name="repair"`) {
			t.Errorf("without the write cap a repair is offered: %s", page)
		}
		var all map[string]any
		text := g.ask(t, "GET", "/operations/h?output=JSON", 200)
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{
			"finished": true, "count-objects-checked": 10.0,
			"count-objects-healthy-pre-repair": 2.0, "count-objects-unhealthy-pre-repair": 8.0, "count-objects-unrecoverable-pre-repair": 2.0,
			"count-objects-healthy-post-repair": 7.0, "count-objects-unhealthy-post-repair": 3.0, "count-objects-unrecoverable-post-repair": 2.0,
			"count-repairs-attempted": 6.0, "count-repairs-successful": 5.0, "count-repairs-unsuccessful": 1.0,
			"count-corrupt-shares-pre-repair": 1.0, "count-corrupt-shares-post-repair": 1.0,
		} {
			if all[name] != want {
				t.Errorf("%s is %v, want %v", name, all[name], want)
			}
		}
		for name, want := range map[string]int{"list-unhealthy-files": 8, "list-corrupt-shares": 1, "list-remaining-corrupt-shares": 1} {
			if list, ok := all[name].([]any); !ok || len(list) != want {
				t.Errorf("%s is %v, want %d", name, all[name], want)
			}
		}
		if _, plain := all["count-objects-healthy"]; plain {
			t.Errorf("the counts are said of no time: %s", text)
		}
		page := g.ask(t, "GET", "/operations/h?output=html", 200)
		for _, want := range []string{"Check and repair of a directory", "Not healthy, before", "Not healthy, now", "<h2>Not healthy, before</h2>", "imm/a", "Not Healthy: 3 shares (enc 3-of-5). Repaired.",
			"Of the 3 shares that it takes to repair it 2 were found.", "takes the cap that grants writing", "It cannot be read now: 2 of the 3 shares needed were found."} {
			if !strings.Contains(page, want) {
				t.Errorf("no %q in %s", want, page)
			}
		}
		if part := g.ask(t, "GET", "/operations/h/"+indexOf(t, lost).String()+"?output=json", 200); !strings.Contains(part, `"pre-repair-results": {`) {
			t.Errorf("of one object it says %s", part)
		}
		if !maps.Equal(g.shares(t, lost), whole) || !maps.Equal(g.shares(t, immutable), wholeDir) {
			t.Error("the shares are others")
		}

		lines := strings.Split(strings.TrimSpace(g.ask(t, "POST", "/uri/"+dir+"?t=stream-deep-check&repair=true", 200)), "\n")
		results := map[string]repairJSON{}
		for _, line := range lines {
			var l struct {
				Type      string
				Path      []string
				Results   *repairJSON `json:"check-and-repair-results"`
				Repaircap string
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.Type != "stats" && l.Results == nil {
				t.Fatalf("%s: %v", line, err)
			}
			if l.Type == "stats" {
				continue
			}
			results[strings.Join(l.Path, "/")] = *l.Results
			if strings.Join(l.Path, "/") == "imm" && !strings.HasPrefix(l.Repaircap, "URI:DIR2-CHK-Verifier:") {
				t.Errorf("the repair cap of an immutable directory is %s", l.Repaircap)
			}
		}
		if len(results) != 12 {
			t.Errorf("%d results: %s", len(results), lines)
		}
		for path, r := range results {
			if r.Attempted != (path == "dead") {
				t.Errorf("%s was repaired again: %+v", path, r)
			}
			if literal := path == "sub/literal" || path == "unknown"; literal != (r.Before == nil) {
				t.Errorf("%s: %+v", path, r)
			} else if sick := path == "imm/b" || path == "ro" || path == "dead"; !literal && sick == r.After.Results.Healthy {
				t.Errorf("%s: %+v", path, r)
			}
		}
	})
}
