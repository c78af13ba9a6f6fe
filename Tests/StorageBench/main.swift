// Measures storage on the disk that holds the given directory: `triage-storage-bench DIRECTORY`.

StorageBench.run(CommandLine.arguments)
