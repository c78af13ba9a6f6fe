runBenchmarks(arguments: CommandLine.arguments)
