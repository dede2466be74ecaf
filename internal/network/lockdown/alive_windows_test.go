package lockdown

func alive(int) bool { return false }
