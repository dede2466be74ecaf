package cli

import (
	"net/url"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/face/webclient"
	"tahoe-go/internal/format/caps"
)

// remote is a word of the command line that names something on the grid:
//
//	ALIAS:PATH           below the directory that has the alias
//	PATH                 below that of the alias tahoe, or of --dir-cap
//	CAP, CAP/PATH        a cap, or below the directory it stands for
//	CAP:./PATH           the same, of old
//	@FILE, @FILE:PATH    the same with a cap that is the first line of a file
//	@-, @-:PATH          … or of standard input
//	http://…/uri/CAP/…   the address of a page of a gateway
//
// The forms with @ keep a cap out of the list of processes.
type remote struct {
	webclient.Place
	word  string // to be shown: without its cap
	slash bool   // it ended with a slash
	alone string // what a file that is a cap by itself is called; "": nothing
}

// name is that of the place in its directory; "" for most caps by themselves.
func (r remote) name() string {
	if len(r.Path) == 0 {
		return r.alone
	}
	return r.Path[len(r.Path)-1]
}

// parent is the directory that the place is in. There must be a path.
func (r remote) parent() webclient.Place {
	return webclient.At(r.Cap, r.Path[:len(r.Path)-1]...)
}

// child is what is called name in the directory.
func (r remote) child(name string) remote {
	if r.word != "" && !strings.HasSuffix(r.word, ":") {
		r.word += "/"
	}
	r.Place, r.word, r.slash = r.Child(name), r.word+quoteName(name), false
	return r
}

// isRemote tells what is on the grid from what is a path of this machine,
// where either may stand. A colon after a slash belongs to a local name.
func isRemote(word string) bool {
	if hasCapPrefix(word) || strings.HasPrefix(word, "@") && len(word) > 1 || isAddress(word) {
		return true
	}
	alias, _, found := strings.Cut(word, ":")
	switch {
	case !found || alias == "" || strings.ContainsAny(alias, `/\`):
		return false
	case len(alias) == 1 && runtime.GOOS == "windows":
		return false // a drive
	}
	return true
}

func isAddress(word string) bool {
	return strings.HasPrefix(word, "http://") || strings.HasPrefix(word, "https://")
}

func hasCapPrefix(word string) bool {
	word = strings.TrimPrefix(strings.TrimPrefix(word, "ro."), "imm.")
	return strings.HasPrefix(word, "URI:")
}

// remote reads one. The default alias serves words without one.
func (a *app) remote(f *storeFlags, word string) (remote, error) {
	if !utf8.ValidString(word) {
		return remote{}, fail("", "%q is not UTF-8, as the names on the grid are", redactWord(word))
	}
	word = strings.Trim(word, " ")
	switch {
	case isAddress(word):
		cap, path, err := cutAddress(word)
		if err != nil {
			return remote{}, err
		}
		a.warnOfCap()
		r, err := capRemote(cap, path, "the address")
		r.alone = addressedName(word)
		return r, err
	case hasCapPrefix(word):
		a.warnOfCap()
		cap, path, found := strings.Cut(word, ":./")
		if !found {
			cap, path, _ = strings.Cut(word, "/")
		}
		return capRemote(cap, path, "the cap")
	case strings.HasPrefix(word, "@"):
		file, path := cutFile(word[1:])
		if file == "" {
			return remote{}, fail("write @FILE, or @- for standard input", "%s names no file", word)
		}
		text, err := a.readCap(file)
		if err != nil {
			return remote{}, err
		}
		text, below, _ := strings.Cut(text, "/") // people keep CAP/PATH in files too
		if below != "" && path != "" {
			below = strings.TrimSuffix(below, "/") + "/"
		}
		return capRemote(text, below+path, "@"+file)
	}
	alias, path, found := strings.Cut(word, ":")
	if !found || strings.Contains(alias, "/") {
		alias, path = "", word
	}
	root, err := a.aliasCap(f, alias)
	if err != nil {
		return remote{}, err
	}
	r := newRemote(root, path)
	r.word = quotePath(r.Path)
	if alias != "" {
		r.word = quoteName(alias) + ":" + r.word
	}
	return r, nil
}

// cutFile parts FILE:PATH. A drive of Windows stays with the file.
func cutFile(s string) (file, path string) {
	from := 0
	if runtime.GOOS == "windows" && len(s) > 1 && s[1] == ':' {
		from = 2
	}
	if i := strings.IndexByte(s[from:], ':'); i >= 0 {
		return s[:from+i], s[from+i+1:]
	}
	return s, ""
}

// cutAddress takes the cap and the path out of a gateway's address.
func cutAddress(word string) (cap, path string, err error) {
	u, err := url.Parse(word)
	if err == nil {
		kind, rest, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
		if kind == "file" || kind == "named" { // what follows the cap is a name, and leads nowhere
			kind, rest = "uri", strings.SplitN(rest, "/", 2)[0]
		}
		if kind == "uri" || kind == "cap" {
			parts := strings.Split(rest, "/")
			for i, p := range parts {
				if parts[i], err = url.PathUnescape(p); err != nil || i > 0 && strings.Contains(parts[i], "/") {
					parts[0] = ""
					break
				}
			}
			if parts[0] != "" {
				return parts[0], strings.Join(parts[1:], "/"), nil
			}
		}
	}
	return "", "", fail("it must look like http://127.0.0.1:3456/uri/CAP/PATH", "the address is not that of a file or directory on a gateway")
}

// addressedName is what a file is called by an address like
// http://…/file/CAP/@@named=/NAME, to which the page of a directory leads; "".
func addressedName(word string) string {
	u, err := url.Parse(word)
	if err != nil {
		return ""
	}
	parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	if parts[0] != "file" && parts[0] != "named" || len(parts) < 3 {
		return ""
	}
	name, err := url.PathUnescape(parts[len(parts)-1])
	if err != nil || strings.Contains(name, "/") || !utf8.ValidString(name) {
		return ""
	}
	return norm.NFC.String(name)
}

func capRemote(text, path, shown string) (remote, error) {
	cap, err := parseCap(text)
	if err != nil {
		return remote{}, err
	}
	r := newRemote(cap, path)
	r.word = shown
	if len(r.Path) > 0 {
		r.word += "/" + quotePath(r.Path)
		if !caps.IsDir(cap) {
			return remote{}, fail("", "%s is that of a file, and files have no children", shown)
		}
	}
	return r, nil
}

// newRemote parts a path. Slashes at its beginning and doubled ones do not
// count.
func newRemote(root caps.Cap, path string) remote {
	r := remote{Place: webclient.At(root), slash: strings.HasSuffix(path, "/")}
	for name := range strings.SplitSeq(path, "/") {
		if name != "" {
			r.Path = append(r.Path, norm.NFC.String(name))
		}
	}
	return r
}

// aliasCap returns the cap of a directory by its alias. Without one it is
// that of --dir-cap, or of the alias tahoe.
func (a *app) aliasCap(f *storeFlags, alias string) (caps.Cap, error) {
	if alias == "" && f.dirCap != "" {
		return a.dirCap(f.dirCap)
	}
	dir, err := a.nodeDir("", "")
	if err != nil {
		return nil, err
	}
	aliases, err := readAliases(dir)
	if err != nil {
		return nil, err
	}
	name := norm.NFC.String(firstOf(alias, defaultAlias))
	text, there := aliases[name]
	switch {
	case !there && alias == "":
		return nil, fail("make it with `tahoe create-alias tahoe`, or write ALIAS:PATH; see `tahoe list-aliases`",
			"no alias given, and the default alias %s does not exist", defaultAlias)
	case !there:
		return nil, fail("make it with `tahoe create-alias` or `tahoe add-alias`; see `tahoe list-aliases`", "unknown alias %s", quoteName(alias))
	}
	cap, err := caps.Parse(text.Reveal())
	if err != nil || !caps.IsDir(cap) {
		return nil, fail("mend the line in private/"+aliasFile+" of "+dir, "the alias %s does not stand for the cap of a directory", quoteName(name))
	}
	return cap, nil
}

// dirCap reads the cap of a directory: itself, or @FILE.
func (a *app) dirCap(word string) (caps.Cap, error) {
	if file, ok := strings.CutPrefix(word, "@"); ok {
		text, err := a.readCap(file)
		if err != nil {
			return nil, err
		}
		word = text
	} else if hasCapPrefix(word) {
		a.warnOfCap()
	}
	cap, err := parseCap(strings.TrimSuffix(word, "/"))
	if err == nil && !caps.IsDir(cap) {
		err = fail("", "the cap is not that of a directory")
	}
	return cap, err
}

// parseCap reads a cap.
func parseCap(text string) (caps.Cap, error) {
	c, err := caps.Parse(text)
	if err != nil {
		return nil, fail("it may have been cut: check that it was copied whole", "this is not a valid cap: %v", err)
	}
	return c, nil
}
