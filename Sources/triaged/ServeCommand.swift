// `triaged serve`: starts the service and keeps it until it is told to stop. Refusing to start is
// one clear line on standard error and a non-zero exit.

internal import ArgumentParser
internal import TriageIO

/// Serves.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve until SIGTERM or SIGINT; then drain and exit.",
        discussion: """
            The first line on standard output, once it serves, is `listening HOST:PORT`. Logs are \
            JSON lines on standard error. SIGHUP reads the policy and the certificates again. \
            SIGUSR2 drains and then runs the program anew, which may be a newer one by then, under \
            the same process id and with the same listening sockets: no connection is refused. \
            Every option can also come from the environment (TRIAGED_DATA, TRIAGED_CLIENT_CA, ...) \
            or from the --config file; a flag wins over the environment, that over the file.

            Exit codes: 0 drained; 65 the data is damaged: nothing was changed, restore it; 70 the \
            journal failed while serving; 71 a port or thread could not be had; 74 the data \
            directory cannot be used; 78 the configuration is wrong.
            """)

    @OptionGroup var flags: SettingFlags

    mutating func run() throws {
        do {
            let inherited = ServiceManager.inheritedSockets() + Handover.inheritedSockets()
            for socket in inherited { socket.hideFromPrograms() }
            let configuration = try ServeConfiguration(
                try flags.resolve(environment: Environment.value), inherited: inherited)
            configuration.close(others: inherited)
            // Also when it is 0: that nobody could be told the address is no failure of a server.
            throw ExitCode(try Daemon.run(configuration))
        } catch let error as ConfigurationError {
            StandardStream.error.write("triaged: \(error)\n")
            throw ExitCode(error.exitCode)
        } catch let error as StartError {
            StandardStream.error.write("triaged: \(error)\n")
            throw ExitCode(error.exitCode)
        }
    }
}

/// Why the daemon could not start, other than by its configuration.
struct StartError: Error, CustomStringConvertible {
    var description: String
    var exitCode: Int32
}
