// Starts the measuring server; everything else is in VolatileServer.swift, because closures formed
// in main.swift are bound to the main actor.

VolatileServer.main()
