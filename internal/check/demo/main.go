// Command demo shows the whole of it on one machine: a Tor network, an
// introducer and five storage servers that are onion services, an anonymous
// client, a file that goes there and comes back with servers missing. `make demo` runs it.
//
// Everything it shows is done by bin/tahoe processes; this program only starts
// and stops them and looks. Settings come from the environment: FILE, KEEP=1,
// TOR=system, TAHOE (the binary).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{
		tahoe:  or(os.Getenv("TAHOE"), "bin/tahoe"),
		file:   os.Getenv("FILE"),
		keep:   os.Getenv("KEEP") == "1",
		system: os.Getenv("TOR") == "system",
		screen: newScreen(os.Stdout),
	}
	err := d.run(ctx)
	d.cleanUp()
	switch {
	case ctx.Err() != nil && d.stayed:
		fmt.Println("\neverything has been stopped and removed")
	case ctx.Err() != nil:
		fmt.Println("\ninterrupted; everything has been stopped and removed")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// run is the demonstration, step by step.
func (d *demo) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := d.prepare(); err != nil {
		return err
	}
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"A Tor network", d.network},
		{"An introducer, itself an onion service", d.startIntroducer},
		{"Five storage servers, each an onion service", d.startServers},
		{"A client that reaches everything through Tor", d.startClient},
		{"Put " + d.what, d.put},
		{"Get it back", d.get},
		{"Who holds what", d.table},
		{"Stop two of the five servers and the introducer, and get it again", d.getWithServersMissing},
	}
	for i, s := range steps {
		d.screen.step(i+1, len(steps), s.title)
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
	}
	d.screen.proven(fmt.Sprintf("Proven: %s went encrypted and erasure-coded (3 of 5) through Tor to five onion servers and came back byte for byte, "+
		"with two of them and the introducer gone.", d.what))
	if d.keep {
		d.stayed = true
		return d.stay(ctx)
	}
	return nil
}
