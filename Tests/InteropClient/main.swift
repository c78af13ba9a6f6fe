// Starts the interoperability client; everything else is in InteropClient.swift, because closures
// formed in main.swift are bound to the main actor.

InteropClient.main()
