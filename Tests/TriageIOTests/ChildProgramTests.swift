// Programs that are run for their output: what they get, and how each way of failing is told.

import Glibc
import Testing
import TriageBase
import TriageIO

@Suite struct ChildProgramTests {
    private func failure(
        _ arguments: [String], bytesMax: Int = 64, milliseconds: Int64 = 20_000
    ) -> ChildProgramError? {
        do throws(ChildProgramError) {
            _ = try ChildProgram.output(
                arguments, bytesMax: bytesMax, milliseconds: milliseconds)
            return nil
        } catch { return error }
    }

    @Test func output_isWhatItWrote_argumentsAreNotInterpreted() throws {
        let bytes = try ChildProgram.output(
            ["/usr/bin/printf", "%s|%s", "$HOME `id`; *", "two words"], bytesMax: 64,
            milliseconds: 20_000)
        #expect(String(decoding: bytes, as: UTF8.self) == "$HOME `id`; *|two words")
    }

    @Test func inputIsEmpty_signalsAreNotBlocked_errorsAreThrownAway() throws {
        // `cat` ends only if its input is empty; the shell ends itself by a signal that this
        // process blocks.
        var blocked = sigset_t()
        unsafe sigemptyset(&blocked)
        unsafe sigaddset(&blocked, SIGTERM)
        var before = sigset_t()
        unsafe pthread_sigmask(SIG_BLOCK, &blocked, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        let bytes = try ChildProgram.output(
            ["/bin/sh", "-c", "cat; echo private >&2; echo out"], bytesMax: 64,
            milliseconds: 20_000)
        #expect(bytes == Array("out\n".utf8))
        let killed = failure(["/bin/sh", "-c", "kill -TERM $$; exec cat /dev/zero"])
        #expect(killed == .killed(program: "/bin/sh", signal: SIGTERM))
    }

    @Test func exitCode_isTold_withoutTheOutput() {
        let error = failure(["/bin/sh", "-c", "echo private; echo private >&2; exit 7"])
        #expect(error == .failed(program: "/bin/sh", exitCode: 7))
        #expect(error?.description == "/bin/sh ended with exit code 7")
    }

    @Test func missingProgram_isTold() {
        #expect(
            failure(["/nowhere/program"])
                == .notStarted(program: "/nowhere/program", .notFound))
    }

    @Test func tooMuchOutput_endsIt() {
        #expect(
            failure(["/bin/cat", "/dev/zero"], bytesMax: 64)
                == .tooMuch(program: "/bin/cat", limitBytes: 64))
        #expect(failure(["/usr/bin/printf", "%064d", "1"], bytesMax: 64) == nil)
        #expect(failure(["/usr/bin/printf", "%065d", "1"], bytesMax: 64) != nil)
    }

    /// One that holds its output open, and one that closes it and stays.
    @Test(arguments: ["exec tail -f /dev/null", "exec >&-; kill -STOP $$"])
    func silence_endsIt(script: String) {
        #expect(
            failure(["/bin/sh", "-c", script], milliseconds: 300)
                == .timedOut(program: "/bin/sh", milliseconds: 300))
    }
}
