//go:build unix

package tor

import (
	"strings"
	"testing"
)

// A launcher gets tor's command line behind its own, stays while tor is run
// again, and ends with its standard input.
func TestLauncherRunsTor(t *testing.T) {
	heard := make(chan string, 10)
	script := `echo "runs $*"; while read order; do echo "told $order"; done; echo ended`
	p, err := startProcess([]string{"/bin/sh", "-c", script, "launcher"}, "sh", []string{"-f", "torrc"}, t.TempDir(), func(_, text string) { heard <- text })
	if err != nil {
		t.Fatal(err)
	}
	if got := <-heard; !strings.HasPrefix(got, "runs /") || !strings.HasSuffix(got, "sh -f torrc") {
		t.Errorf("the launcher got: %q", got)
	}
	if ok := p.again(); !ok {
		t.Error("the launcher takes no orders")
	}
	if got := <-heard; got != "told again" {
		t.Errorf("the launcher was %q", got)
	}
	p.stop()
	if p.again() {
		t.Error("a launcher that has ended takes orders")
	}
}

func TestNoSuchProgram(t *testing.T) {
	_, err := startProcess([]string{"/bin/sh"}, "/no/such/tor", nil, t.TempDir(), func(_, _ string) {})
	if err == nil || !strings.Contains(err.Error(), "apt install tor") {
		t.Errorf("launching what is not there: %v", err)
	}
}
