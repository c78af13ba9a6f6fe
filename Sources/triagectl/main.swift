// Entry point. Kept to one call: see Sources/triaged/main.swift.
internal import ArgumentParser

await TriageCtl.main()
