// Starts the interoperability server; everything else is in InteropServer.swift, because closures
// formed in main.swift are bound to the main actor.

InteropServer.main()
