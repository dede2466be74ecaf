package archtest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Table is the floors of docs/design.md, "Floors".
type Table struct {
	floor map[string]int             // by folder; kit is below all, check above all
	units map[string]bool            // folder/unit: the packages listed
	edges map[string]map[string]bool // folder/unit to what it may import in its folder or, "up to", above
}

const (
	kitFloor   = -1
	checkFloor = 100
)

var (
	row    = regexp.MustCompile("^\\| *(\\w+) *\\| *`(\\w+)/`[^|]*\\|([^|]*)\\|([^|]*)\\|$")
	quoted = regexp.MustCompile("`([\\w/]+)`")
)

// readTable finds the rows like
//
//	| 0 | `codec/` pure | `base32`, `tagged` | `merkle`→`tagged`→`netstring`; `ids`→`base32` |
//
// in which an arrow allows an import, "all" stands for every package of the
// row, and a target with a slash is allowed although it is above.
func readTable(file string) (*Table, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t := &Table{floor: map[string]int{}, units: map[string]bool{}, edges: map[string]map[string]bool{}}
	for line := range strings.Lines(string(text)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		folder := m[2]
		floor, err := strconv.Atoi(m[1])
		switch {
		case err == nil:
		case folder == "kit":
			floor = kitFloor
		case folder == "check":
			floor = checkFloor
		default:
			return nil, fmt.Errorf("%s: folder %s has no floor: %q", file, folder, m[1])
		}
		t.floor[folder] = floor
		var units []string
		for _, q := range quoted.FindAllStringSubmatch(m[3], -1) {
			units = append(units, q[1])
			t.units[folder+"/"+q[1]] = true
		}
		for clause := range strings.SplitSeq(m[4], ";") {
			t.addClause(folder, units, clause)
		}
	}
	if len(t.floor) < 2 {
		return nil, fmt.Errorf("%s: no table of floors", file)
	}
	return t, nil
}

// addClause reads `a`→`b`, `c`→`d`: each group may import every name of the
// group after its arrow.
func (t *Table) addClause(folder string, units []string, clause string) {
	groups := strings.Split(clause, "→")
	for i := range len(groups) - 1 {
		from := names(groups[i])
		if strings.TrimSpace(groups[i]) == "all" {
			from = units
		}
		for _, f := range from {
			for _, to := range names(groups[i+1]) {
				if !strings.Contains(to, "/") {
					to = folder + "/" + to
				}
				if t.edges[folder+"/"+f] == nil {
					t.edges[folder+"/"+f] = map[string]bool{}
				}
				t.edges[folder+"/"+f][to] = true
			}
		}
	}
}

func names(s string) []string {
	var ns []string
	for _, q := range quoted.FindAllStringSubmatch(s, -1) {
		ns = append(ns, q[1])
	}
	return ns
}

// unit returns the folder and folder/unit of a package path below the module:
// internal/network/tor/socks is of the unit network/tor, and internal/storage
// of storage/storage. ok is false outside internal/.
func unit(path string) (folder, name string, ok bool) {
	rest, ok := strings.CutPrefix(path, "internal/")
	if !ok {
		return "", "", false
	}
	parts := strings.Split(rest, "/")
	if len(parts) == 1 {
		return parts[0], parts[0] + "/" + parts[0], true
	}
	return parts[0], parts[0] + "/" + parts[1], true
}

// allows says why package from must not import package to, both paths below
// the module, or "". A test may use all of its own folder, and check/.
func (t *Table) allows(from, to string, test bool) string {
	fromFolder, fromUnit, ok := unit(from)
	toFolder, toUnit, toOK := unit(to)
	if !ok || !toOK || fromUnit == toUnit { // cmd, and a package's own parts
		return ""
	}
	fromFloor, toFloor := t.floor[fromFolder], t.floor[toFolder]
	switch {
	case test && (toFloor == checkFloor || toFolder == fromFolder):
		return ""
	case toFloor == checkFloor && fromFloor != checkFloor:
		return "check/ is for tests only"
	case fromFloor == kitFloor:
		return "kit/ imports nothing of ours"
	case toFloor < fromFloor, t.edges[fromUnit][toUnit], fromFloor == checkFloor:
		return ""
	case toFolder == fromFolder:
		return fmt.Sprintf("the table of floors has no %s→%s", fromUnit, toUnit)
	}
	return fmt.Sprintf("imports point downward only: %s/ is below %s/", fromFolder, toFolder)
}
