package tor

// owns reports whether tor is shown to own a folder; there is no way to tell.
func owns(uid, pid int, dir string) bool { return false }
