// Runs another program for what it writes: without a shell, for a bounded time, taking a bounded
// amount. Knows nothing of what the program is for.

internal import CTriageShims
internal import Glibc
package import TriageBase

/// Why a program gave nothing; its output is never part of the text.
package enum ChildProgramError: Error, Equatable, Sendable, CustomStringConvertible {
    /// It could not be started.
    case notStarted(program: String, Errno)
    /// It ended with that exit code.
    case failed(program: String, exitCode: Int32)
    /// A signal ended it.
    case killed(program: String, signal: Int32)
    /// It took longer than it may, and was ended.
    case timedOut(program: String, milliseconds: Int64)
    /// It wrote more than it may, and was ended.
    case tooMuch(program: String, limitBytes: Int)
    /// Its output could not be read.
    case io(IOError)

    package var description: String {
        switch self {
        case .notStarted(let program, let errno): "\(program) could not be started: \(errno)"
        case .failed(let program, let code): "\(program) ended with exit code \(code)"
        case .killed(let program, let signal): "\(program) was ended by signal \(signal)"
        case .timedOut(let program, let milliseconds):
            "\(program) gave no answer within \(milliseconds) ms"
        case .tooMuch(let program, let limit):
            "\(program) wrote more than \(limit) bytes to its standard output"
        case .io(let error): "\(error)"
        }
    }
}

/// Programs that are run for their standard output.
package enum ChildProgram {
    /// Runs a program and returns what it wrote.
    ///
    /// Standard input is empty, standard error is thrown away, signals are as at the start of a
    /// process, the environment is ours.
    ///
    /// - Parameters:
    ///   - arguments: The program's path, then what it is given.
    ///   - bytesMax: It may write as much.
    ///   - milliseconds: It may take as long.
    ///   - clock: What tells the time.
    /// - Returns: Its output, which may be secret; wiping it is the caller's.
    /// - Throws: ``ChildProgramError``. The program has ended in any case.
    ///
    /// Source: posix_spawn(3), waitpid(2).
    package static func output(
        _ arguments: [String], bytesMax: Int, milliseconds: Int64,
        clock: any TimeSource = SystemClock()
    ) throws(ChildProgramError) -> [UInt8] {
        precondition(!arguments.isEmpty)
        var ends: (Int32, Int32) = (-1, -1)
        let isMade = unsafe withUnsafeMutableBytes(of: &ends) { raw in
            unsafe CTriageShims_pipe(raw.baseAddress?.assumingMemoryBound(to: Int32.self))
        }
        guard isMade == 0 else { throw .io(IOError(.open, path: "pipe", .current)) }
        let (reading, writing) = ends
        defer { _ = close(reading) }
        // The program has the only writing end once it runs: its end is the end of the output.
        let started = Result { () throws(ChildProgramError) in
            try start(arguments, output: writing)
        }
        _ = close(writing)
        let process = try started.get()
        let deadline = clock.monotonicTime().advanced(
            byNanoseconds: UInt64(milliseconds) * 1_000_000)
        do throws(ChildProgramError) {
            let bytes = try take(
                arguments[0], reading, bytesMax: bytesMax, milliseconds: milliseconds, deadline,
                clock)
            guard let status = wait(process, before: deadline, clock) else {
                throw .timedOut(program: arguments[0], milliseconds: milliseconds)
            }
            guard status & 0x7F == 0 else {
                throw .killed(program: arguments[0], signal: status & 0x7F)
            }
            let code = status >> 8 & 0xFF
            guard code == 0 else { throw .failed(program: arguments[0], exitCode: code) }
            return bytes
        } catch {
            switch error {
            case .timedOut, .tooMuch, .io:
                _ = kill(process, SIGKILL)
                _ = wait(process, before: .never, clock)
            case .notStarted, .failed, .killed: break
            }
            throw error
        }
    }

    private static func start(
        _ arguments: [String], output: Int32
    ) throws(ChildProgramError) -> pid_t {
        var words: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
        unsafe words.append(nil)
        defer { unsafe words.forEach { unsafe free($0) } }
        var process: pid_t = 0
        let code = unsafe words.withUnsafeMutableBufferPointer { words in
            unsafe CTriageShims_spawn(&process, words.baseAddress, output)
        }
        guard code == 0 else {
            throw .notStarted(program: arguments[0], Errno(rawValue: code))
        }
        return process
    }

    /// Reads until the program closes its output.
    private static func take(
        _ program: String, _ descriptor: Int32, bytesMax: Int, milliseconds: Int64,
        _ deadline: MonotonicTime, _ clock: any TimeSource
    ) throws(ChildProgramError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: bytesMax + 1)
        var count = 0
        while true {
            let now = clock.monotonicTime()
            guard now < deadline else {
                throw .timedOut(program: program, milliseconds: milliseconds)
            }
            let left = deadline.nanoseconds(since: now) / 1_000_000 + 1
            var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = unsafe poll(&watched, 1, Int32(clamping: left))
            if ready < 0, errno != EINTR { throw .io(IOError(.read, path: program, .current)) }
            if ready <= 0 { continue }
            let start = count
            let result = unsafe bytes.withUnsafeMutableBytes { raw in
                unsafe read(descriptor, raw.baseAddress?.advanced(by: start), raw.count - start)
            }
            if result < 0 {
                if errno == EINTR { continue }
                throw .io(IOError(.read, path: program, .current))
            }
            if result == 0 { break }
            count += result
            guard count <= bytesMax else {
                throw .tooMuch(program: program, limitBytes: bytesMax)
            }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Waits for the program's end, which follows that of its output closely if it is a good one.
    ///
    /// - Returns: Its wait status; nil when it has not ended in time.
    private static func wait(
        _ process: pid_t, before deadline: MonotonicTime, _ clock: any TimeSource
    ) -> Int32? {
        var status: Int32 = 0
        while true {
            let ended = unsafe waitpid(process, &status, WNOHANG)
            if ended == process { return status }
            // Nobody else waits for it: anything but an interruption is a broken invariant.
            invariant(ended == 0 || errno == EINTR, "a started program can be waited for")
            guard clock.monotonicTime() < deadline else { return nil }
            _ = poll(nil, 0, lookMilliseconds)
        }
    }

    private static let lookMilliseconds: Int32 = 5
}
