package webapi

import (
	"fmt"
	"testing"

	"tahoe-go/internal/file/filestore"
)

// A tree in which nothing is well costs bounded memory: the lists end, the
// counts do not, and it is said.
func TestCheckOfASickTree(t *testing.T) {
	w := &checkWork{}
	no := false
	ill := &checked{Results: checkResults{checkCounts: &checkCounts{Corrupt: make([][3]any, 3)}, Recoverable: &no}}
	const objects = maxSick + maxSick/10
	for i := range objects {
		if err := w.found(filestore.Item{Path: []string{"x"}}, &repaired{SI: fmt.Sprint(i), Before: ill, After: ill}); err != nil {
			t.Fatal(err)
		}
	}
	facts := w.facts(true)
	for name, want := range map[string]any{
		"count-objects-checked": objects, "count-objects-unhealthy": objects, "count-objects-unrecoverable": objects,
		"count-corrupt-shares": 3 * objects, "truncated": true,
	} {
		if facts[name] != want {
			t.Errorf("%s: %v, want %v", name, facts[name], want)
		}
	}
	if n := len(facts["list-unhealthy-files"].([][2]any)); n != maxSick {
		t.Errorf("%d objects are listed", n)
	}
	if n := len(facts["list-corrupt-shares"].([][3]any)); n != maxSick {
		t.Errorf("%d shares are listed", n)
	}
	if n := len(w.results); n > maxSick {
		t.Errorf("results of %d objects are kept", n)
	}
	few := &checkWork{}
	few.found(filestore.Item{}, &repaired{SI: "a", Before: ill, After: ill})
	if facts := few.facts(true); facts["truncated"] != false {
		t.Errorf("of one object: %v", facts)
	}
}
