// How a process becomes its own successor: it runs its program again, perhaps a newer one, under
// the same process id, and leaves it the listening sockets with all the connections that wait in
// them. Knows nothing of what is served.

import CTriageShims
import Glibc
import TriageBase

/// A listening socket on its way to the successor.
package struct SocketToLeave: Sendable {
    /// What the successor knows it by; no space and no `=`.
    package var name: String
    /// Open in this process.
    package var descriptor: Int32

    /// Names a socket.
    package init(name: String, descriptor: Int32) {
        self.name = name
        self.descriptor = descriptor
    }
}

/// Leaving the process to a new run of its program.
package enum Handover {
    /// `PID NAME=DESCRIPTOR …`: what was left, and to whom.
    private static let variable = "TRIAGED_HANDOVER"
    /// What a rehearsal is told: words, with a space in between.
    private static let rehearsalVariable = "TRIAGED_REHEARSAL"
    private static let socketsMax = 1_024
    private static let saidBytesMax = 4_096

    /// What the process that this one was has left; empty for one that began afresh.
    ///
    /// - Parameters:
    ///   - environment: Looks up an environment variable.
    ///   - process: Our process id: what a parent left for itself is not taken.
    /// - Returns: The sockets, in the order in which they were left.
    package static func inheritedSockets(
        environment: (String) -> String? = Environment.value, process: Int32 = getpid()
    ) -> [InheritedSocket] {
        let words = environment(variable)?.split(separator: " ") ?? []
        guard words.count - 1 <= socketsMax, words.first.flatMap({ Int32($0) }) == process else {
            return []
        }
        return words.dropFirst().compactMap { word in
            guard let equals = word.lastIndex(of: "="),
                let descriptor = Int32(word[word.index(after: equals)...]), descriptor > 2
            else { return nil }
            return InheritedSocket(
                name: String(word[..<equals]), origin: .predecessor, descriptor: descriptor)
        }
    }

    /// Whether this process is another one's successor.
    ///
    /// It is one also without a socket: the service manager's are not left, they stay.
    ///
    /// - Parameters:
    ///   - environment: Looks up an environment variable.
    ///   - process: Our process id: what a parent became is not meant.
    /// - Returns: False for one that began afresh, or was run by a successor.
    package static func isSuccessor(
        environment: (String) -> String? = Environment.value, process: Int32 = getpid()
    ) -> Bool {
        environment(variable)?.split(separator: " ").first.flatMap { Int32($0) } == process
    }

    /// What the process that rehearses us has told us; nil when this is no rehearsal.
    package static func toldInRehearsal(
        environment: (String) -> String? = Environment.value
    ) -> [String]? {
        environment(rehearsalVariable)?.split(separator: " ").map(String.init)
    }

    /// Runs the program with other words, to see whether it would take over.
    ///
    /// - Parameters:
    ///   - arguments: The program as it was called, then the words.
    ///   - telling: What it finds in ``toldInRehearsal(environment:)``; words without spaces.
    ///   - milliseconds: When it is given up, and ended with all that it has started.
    /// - Returns: nil when it ended well; otherwise what it said on standard error, or how it
    ///   ended.
    ///
    /// Source: posix_spawnp(3), POSIX_SPAWN_SETPGROUP; waitpid(2).
    package static func rehearse(
        _ arguments: [String], telling: [String] = [], milliseconds: Int32
    ) -> String? {
        var ends: [Int32] = [-1, -1]
        guard unsafe CTriageShims_pipe(&ends) == 0 else { return words("pipe", errno) }
        defer { _ = close(ends[0]) }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        var child: pid_t = 0
        let said = "\(rehearsalVariable)=\(telling.joined(separator: " "))"
        let code = unsafe withWords(arguments) { words in
            unsafe withEnvironment(and: said) { variables in
                guard let program = unsafe words[0] else { return EINVAL }
                return unsafe posix_spawnp(
                    &child, program, &actions, &attributes, words, variables)
            }
        }
        _ = close(ends[1])
        guard code == 0 else { return words(arguments[0], code) }
        let answer = read(from: ends[0], milliseconds: milliseconds)
        // Whoever it has asked for the key goes with it: nobody else would end that one.
        if answer == nil { _ = kill(-child, SIGKILL) }
        // It has closed standard error, so it has ended or hangs.
        var status: Int32 = 0
        while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
        guard let answer else { return "it gave no answer within \(milliseconds) ms" }
        if status == 0 { return nil }
        return answer.isEmpty ? "it did not end well" : answer
    }

    /// Our environment as it is, and one variable before it: the first of a name counts.
    private static func withEnvironment(
        and variable: String,
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32
    ) -> Int32 {
        let first = unsafe strdup(variable)
        defer { unsafe free(first) }
        var entries = unsafe [first]
        var next = unsafe environ
        while let entry = unsafe next.pointee {
            unsafe entries.append(entry)
            unsafe next += 1
        }
        unsafe entries.append(nil)
        return unsafe entries.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return EINVAL }
            return unsafe body(base)
        }
    }

    /// Becomes the successor; returns only when that failed, and then the process should end.
    ///
    /// Other threads must have ended. Descriptors that are not left, and not the service manager's,
    /// are closed; blocked signals stay blocked, so that none is lost between the two.
    ///
    /// - Parameters:
    ///   - arguments: The program as it was called, then its words.
    ///   - sockets: What it gets; they stay open.
    /// - Returns: Why this is still the same program.
    ///
    /// Source: execvp(3); fcntl(2) FD_CLOEXEC.
    package static func become(_ arguments: [String], leaving sockets: [SocketToLeave])
        -> SocketError
    {
        let managers = ServiceManager.inheritedSockets().map(\.descriptor)
        for descriptor in sockets.map(\.descriptor) + managers {
            guard fcntl(descriptor, F_SETFD, 0) == 0 else { return .last("fcntl") }
        }
        let left = sockets.map { "\($0.name)=\($0.descriptor)" }
        let text = ([String(getpid())] + left).joined(separator: " ")
        guard unsafe setenv(variable, text, 1) == 0 else { return .last("setenv") }
        _ = unsafe withWords(arguments) { words in
            guard let program = unsafe words[0] else { return EINVAL }
            return unsafe execvp(program, words)
        }
        return .last("execvp")
    }

    private static func words(_ what: String, _ code: Int32) -> String {
        SocketError(operation: what, errno: code).description
    }

    /// Everything until the end, the first few KiB of it; nil when that does not come in time.
    private static func read(from descriptor: Int32, milliseconds: Int32) -> String? {
        let clock = SystemClock()
        let end = clock.monotonicTime().advanced(
            byNanoseconds: UInt64(milliseconds) * 1_000_000)
        var said: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1_024)
        while true {
            let left = end.nanoseconds(since: clock.monotonicTime()) / 1_000_000
            var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard left > 0, unsafe poll(&watched, 1, Int32(clamping: left)) > 0 else { return nil }
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe Glibc.read(descriptor, bytes.baseAddress, bytes.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return String(decoding: said, as: UTF8.self) }
            said += buffer.prefix(max(0, min(count, saidBytesMax - said.count)))
        }
    }

    private static func withWords(
        _ words: [String],
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32
    ) -> Int32 {
        var words = unsafe words.map { unsafe strdup($0) } + [nil]
        defer { unsafe words.forEach { unsafe free($0) } }
        return unsafe words.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return EINVAL }
            return unsafe body(base)
        }
    }
}
