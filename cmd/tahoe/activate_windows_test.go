package main

func activate() { panic("no service manager hands sockets over here") }
