package tor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
	"tahoe-go/internal/network/tor/onion"
)

const (
	// dirCheckEvery is how often it is made sure that tor still has a service.
	// Events say so sooner, where tor and the filters before it send them.
	dirCheckEvery = 30 * time.Second
	// dirCheckPause spreads what several nodes do when one event wakes all of
	// them: each sends the services of all, as they were when it looked.
	dirCheckPause = 2 * time.Second
	// patienceForAddress is when to say that tor may take long to show it.
	patienceForAddress = 2 * time.Minute
)

// keepDir sees to it that tor has a service, until its listener is closed or
// the connection ends. It stays with tor.
func (k *keeper) keepDir(d *hiddenDir) {
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	k.wg.Go(func() {
		select {
		case <-d.done:
			cancel()
		case <-ctx.Done():
		}
	})
	d.standing(false)
	k.wg.Go(func() { k.watchDir(ctx, d) })
	said := ""
	for ctx.Err() == nil {
		pause, problem := dirCheckEvery, ""
		if err := k.settle(ctx, d); err != nil {
			pause, problem = refusedPause, err.Error()
		}
		if ctx.Err() != nil {
			return
		}
		if problem != "" && problem != said {
			k.tor.log.Warn("onion service not set up", "dir", d.cfg.Dir, "err", problem, "again_in", pause)
		}
		said = problem
		d.status(func(st *ServiceStatus) { st.Added, st.Problem = problem == "", problem })
		d.standing(problem == "")
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-d.recheck:
			sleep(ctx, time.Duration(rand.Float64()*float64(dirCheckPause)))
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// settle joins the service in tor's settings, or adds it there.
func (k *keeper) settle(ctx context.Context, d *hiddenDir) error {
	k.settling.Lock() // two additions at once would lose one
	defer k.settling.Unlock()
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	answer, err := k.control.GetConf(ctx, "HiddenServiceOptions")
	if refused, ok := errors.AsType[*control.Error](err); ok && refused.BadArgument() {
		return fmt.Errorf("tor, or a filter before it, does not let this node see its onion services: leave hiddenServiceDir out, and the node keeps the key itself (%w)", err)
	}
	if err != nil {
		return fmt.Errorf("asking tor for its onion services: %w", err)
	}
	all := known(answer)
	if service, ok := all.find(d.cfg.Dir); ok {
		return k.join(ctx, d, service)
	}
	target, err := d.choose(ctx)
	if err != nil {
		return err
	}
	if err := k.mayMake(ctx, d.cfg.Dir); err != nil {
		return fmt.Errorf("tor is not asked to set up an onion service in %s, since %w; write %s into torrc and reload tor",
			d.cfg.Dir, err, torrcLines(d.cfg.Dir, d.cfg.Port, target))
	}
	k.tor.log.Info("setting up an onion service", "dir", d.cfg.Dir, "target", target.String())
	d.forget()
	if err := k.control.SetConf(ctx, all.with(d.cfg.Dir, d.cfg.Port, target)...); err != nil {
		if refused, ok := errors.AsType[*control.Error](err); ok && refused.Code == 513 {
			return fmt.Errorf("tor does not accept %s as it is: if it exists, it must be a folder of tor's own user, closed to everyone else (0700); tor's log says more (%w)", d.cfg.Dir, err)
		}
		return fmt.Errorf("setting up an onion service in %s: %w", d.cfg.Dir, err)
	}
	d.quietIn(newSilence)
	d.status(func(st *ServiceStatus) { st.Uploaded, st.Asked, st.Reached = 0, 0, time.Time{} })
	return nil
}

// join takes a service that tor has as it is.
func (k *keeper) join(ctx context.Context, d *hiddenDir, service []control.Setting) error {
	target, err := targetOf(service, d.cfg.Port)
	if err != nil {
		return fmt.Errorf("the onion service in %s: %w", d.cfg.Dir, err)
	}
	if target == (netx.Addr{}) {
		own, err := d.choose(ctx)
		if err != nil {
			return err
		}
		return fmt.Errorf("tor has an onion service in %s, without port %d, and it is not ours to change; write %q below its HiddenServiceDir line in torrc and reload tor",
			d.cfg.Dir, d.cfg.Port, portKey+" "+portLine(d.cfg.Port, own))
	}
	if p := d.cfg.LocalPort; p != 0 && target != (netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: p}) {
		return fmt.Errorf("tor has an onion service in %s that delivers to %s, and tub.location says localPort=%d: leave localPort out, or change torrc", d.cfg.Dir, target, p)
	}
	if err := d.listenAt(ctx, target); err != nil {
		return err
	}
	if !d.isStanding() {
		d.quietIn(joinedSilence)
	}
	return nil
}

// mayMake returns nil if tor is sure to be able to make dir: one that cannot
// exits. The error says what is missing, as the end of a sentence.
func (k *keeper) mayMake(ctx context.Context, dir string) error {
	for _, never := range []struct{ key, why string }{
		{"Sandbox", "it runs with Sandbox 1 and can open nothing new"},
		{"HiddenServiceNonAnonymousMode", "its services are of a single hop, which gives this machine's address away"},
	} {
		if v, err := k.conf(ctx, never.key); err != nil {
			return err
		} else if v == "1" {
			return errors.New(never.why)
		}
	}
	data, err := k.conf(ctx, "DataDirectory")
	if err != nil {
		return err
	}
	if data != "" && filepath.Dir(dir) == filepath.Clean(data) {
		if ofTor(filepath.Base(dir)) {
			return errors.New("tor keeps other things under that name")
		}
		return nil
	}
	info, err := k.control.GetInfo(ctx, "process/uid", "process/pid")
	if err == nil {
		uid, err1 := strconv.Atoi(info["process/uid"])
		pid, err2 := strconv.Atoi(info["process/pid"])
		if err1 == nil && err2 == nil && (owns(uid, pid, dir) || owns(uid, pid, filepath.Dir(dir))) {
			return nil
		}
	}
	where := "in a folder that tor owns"
	if data != "" {
		where = "directly below its DataDirectory " + data
	}
	return fmt.Errorf("a tor that cannot make a folder exits, for everyone who uses it, and it is sure to be able to only %s", where)
}

// conf returns one setting of tor, "" if it has none.
func (k *keeper) conf(ctx context.Context, key string) (string, error) {
	answer, err := k.control.GetConf(ctx, key)
	if err != nil || len(answer) == 0 {
		return "", err
	}
	return answer[0].Value, nil
}

// ofTor reports whether tor uses a name in its DataDirectory itself. Its list
// is from "FILES" in tor(1).
func ofTor(name string) bool {
	return slices.Contains([]string{"keys", "diff-cache", "stats", "state", "lock", "pt_state", "control_auth_cookie",
		"extended_orport_auth_cookie", "router-stability", "approved-routers", "sr-state", "sr-random", "bw_accounting",
		"hashed-fingerprint", "fingerprint", "fingerprint-ed25519", "key-pinning-journal", "v3-status-votes",
		"networkstatus-bridges", "onion_service_non_anonymous"}, name) ||
		strings.HasPrefix(name, "cached-") || strings.HasPrefix(name, "unverified-")
}

// watchDir finds out the address of a service and checks on it from outside.
func (k *keeper) watchDir(ctx context.Context, d *hiddenDir) {
	began := time.Now()
	pause := selfDialPause
	strangers := map[onion.Address]bool{}
	for ctx.Err() == nil {
		wait := jitter(pause)
		if d.isStanding() {
			k.readAddress(ctx, d)
			if k.tryAll(ctx, d, strangers) {
				wait, pause = jitter(selfDialEvery), selfDialPause
			} else {
				pause = min(2*pause, selfDialMost)
			}
			if d.address() == "" && time.Since(began) > patienceForAddress {
				d.status(func(st *ServiceStatus) { st.slowAddress = true })
			}
		}
		timer := time.NewTimer(d.untilQuiet(wait))
		select {
		case <-timer.C:
		case <-d.heard:
			pause = selfDialPause
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// readAddress looks for the address where it may be written: in tor's folder,
// and in the list of tor's circuits.
func (k *keeper) readAddress(ctx context.Context, d *hiddenDir) {
	if text, err := readFile(filepath.Join(d.cfg.Dir, "hostname"), 256); err == nil {
		if a, err := onion.ParseAddress(strings.TrimSpace(text)); err == nil {
			d.known(a)
			return
		}
	}
	// On a tor with many circuits the answer may be too long for the
	// connection; that must not happen again and again.
	if d.address() != "" || !k.tor.circuits.CompareAndSwap(false, true) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	info, err := k.control.GetInfo(ctx, "circuit-status")
	if k.control.Err() == nil {
		k.tor.circuits.Store(false)
	}
	if err != nil {
		k.tor.log.Debug("asking tor for its circuits", "err", err)
		return
	}
	for line := range strings.Lines(info["circuit-status"]) {
		keys := control.Keys(line)
		a, err := onion.ParseAddress(strings.TrimSpace(keys["REND_QUERY"]) + ".onion")
		if err == nil && keys["PURPOSE"] == "HS_SERVICE_INTRO" {
			d.notice(a.ServiceID())
		}
	}
}

// tryAll connects to the addresses that may be ours, and reports whether one
// of them is.
func (k *keeper) tryAll(ctx context.Context, d *hiddenDir, strangers map[onion.Address]bool) bool {
	for _, a := range d.candidates() {
		if strangers[a] || k.tor.servesKey(a) {
			continue
		}
		err := d.prove(ctx, a)
		if err == nil {
			d.known(a)
			d.status(func(st *ServiceStatus) { st.Reached, st.slowAddress = time.Now(), false })
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		k.tor.log.Debug("not reached through an onion address", "address", a.String(), "err", err)
		if errors.Is(err, ErrStranger) && a != d.address() {
			strangers[a] = true
		}
	}
	return false
}

func (d *hiddenDir) prove(ctx context.Context, a onion.Address) error {
	ctx, cancel := context.WithTimeout(ctx, selfDialTime)
	defer cancel()
	return d.cfg.Prove(ctx, selfAddr(a, d.cfg.Port))
}

// servesKey reports whether a is the address of a service with a key of ours.
func (t *Tor) servesKey(a onion.Address) bool { return t.serviceOf(a.ServiceID()) != nil }
