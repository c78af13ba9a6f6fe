// Entry point. Kept to one call: top-level code is main-actor isolated, and a C callback formed
// here would trap when it runs on another thread.
internal import ArgumentParser
internal import TriageIO

TriagedCommand.main()
TriagedCommand.exitIfOutputWasLost()
