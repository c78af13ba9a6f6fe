// Starts the test server; everything else is in EchoServer.swift, because closures formed in
// main.swift are bound to the main actor.

EchoServer.main()
