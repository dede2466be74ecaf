package backup

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/codec/netstring"
	"tahoe-go/internal/codec/tagged"
)

// folders makes a directory for every folder: all that lie equally deep at
// once, the deepest first, so that each finds the caps of what is in it.
func (b *run) folders(ctx context.Context, tree *Tree) error {
	var levels [][]*Item
	for level := []*Item{tree.Root}; len(level) > 0; {
		levels = append(levels, level)
		var below []*Item
		for _, f := range level {
			for _, i := range f.Items {
				if i.Folder {
					below = append(below, i)
				}
			}
		}
		level = below
	}
	for _, level := range slices.Backward(levels) {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(b.Parallel)
		for _, f := range level {
			if ctx.Err() != nil {
				break
			}
			g.Go(func() error {
				if err := b.folder(ctx, f); err != nil {
					return stopped(f, err)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// folder finds or makes the directory of one folder.
func (b *run) folder(ctx context.Context, f *Item) error {
	hash, complete := contentHash(f)
	var known Known
	ok := false
	if complete {
		var err error
		if known, ok, err = b.DB.Folder(ctx, hash); err != nil {
			return err
		}
	}
	if ok && b.mustCheck(known) {
		if !b.DryRun {
			var err error
			if ok, err = b.whole(ctx, f.Path, known); err != nil {
				return err
			}
		}
		b.done(0, 0, func(r *Result) { r.Folders.Checked++ })
	}
	if ok {
		f.cap = known.Cap
		b.say(f.Path, ReusingFolder)
		b.done(1, 0, func(r *Result) { r.Folders.Reused++ })
		return nil
	}
	b.say(f.Path, MakingFolder)
	if !b.DryRun {
		if err := b.mkdir(ctx, f, hash); err != nil {
			return err
		}
	}
	b.done(1, 0, func(r *Result) { r.Folders.New++ })
	return nil
}

func (b *run) mkdir(ctx context.Context, f *Item, hash tagged.Hash) error {
	children := make(map[string]Child, len(f.Items))
	for _, i := range f.Items {
		if !i.skipped {
			children[norm.NFC.String(i.Name)] = Child{i.cap, i.Stat.metadata()}
		}
	}
	cap, err := b.Gateway.MkdirImmutable(ctx, children)
	if err != nil {
		return err
	}
	f.cap = cap
	return b.record.add(record{cap: cap, hash: &hash})
}

// contentHash is what the database knows a directory by: names and caps, no
// metadata. Not complete when, in a dry run, a cap is not known yet.
func contentHash(f *Item) (h tagged.Hash, complete bool) {
	var content []byte
	for _, i := range f.Items { // sorted by the bytes of their names
		switch {
		case i.skipped:
			continue
		case i.cap == nil:
			return h, false
		}
		content = netstring.Append(content, i.Name)
		content = netstring.Append(content, i.cap.Reveal())
	}
	return tagged.BackupDir(content), true
}

// metadata is what is kept of a Stat beside the link, under the reference's
// names.
func (s Stat) metadata() map[string]any {
	return map[string]any{
		"mtime": seconds(s.Mtime), "ctime": seconds(s.Ctime),
		"st_mode": s.Mode, "st_ino": s.Ino, "st_dev": s.Dev, "st_uid": s.UID, "st_gid": s.GID,
	}
}
