// What the command line prints is what scripts and people rely on.

import Testing
import TriageBase
import TriageCodec
import TriageGRPC

@testable import triagectl

@Suite struct OutputTests {
    @Test func jsonFollowsTheProtobufMapping() {
        var inner = DynamicMessage()
        inner["create_time"] = .timestamp(WallTime(milliseconds: 1_500))
        inner["lease_duration"] = .duration(milliseconds: -1_500)
        var message = DynamicMessage()
        message["page_size"] = .int(5)
        message["revision"] = .long(7)
        message["note"] = .string("a \"b\"\n\u{1}")
        message["evidence"] = .bytes([1, 2, 3])
        message["inner"] = .message(inner)
        message["levels"] = .list([.enumeration("LEVEL_P0")])
        let text =
            #"{"pageSize":5,"revision":"7","note":"a \"b\"\n\u0001","evidence":"AQID","inner":"#
            + #"{"createTime":"1970-01-01T00:00:01.500Z","leaseDuration":"-1.500s"},"#
            + #""levels":["LEVEL_P0"]}"#
        #expect(JSONMapping.text(.message(message)) == text)
    }

    @Test(arguments: [("pageSize", "page_size"), ("page_size", "page_size"), ("a", "a")])
    func fieldNamesAreTakenInBothForms(_ written: String, _ name: String) {
        #expect(JSONMapping.snakeCase(written) == name)
    }

    /// Reports come from anybody.
    @Test func whatPeopleWrote_movesNoCursorAndReadsAsNoLineOfOurs() {
        let text = "x\nlevel: P4\u{1B}[8m\u{9B}2J\u{7F}\u{202E}é\t"
        #expect(
            Output.visible(text)
                == "x\\u{a}level: P4\\u{1b}[8m\\u{9b}2J\\u{7f}\\u{202e}é\\u{9}")
        #expect(Output.visible("a\nb", margin: "  | ") == "a\n  | b")
        var table = Table(["A"])
        table.add(["1\n2\u{1B}"])
        #expect(table.lines.last == "1\\u{a}2\\u{1b}")
        let failure = CallFailure(
            error: RPCError(.notFound, reason: "NO\u{1B}", message: "gone\u{1B}[2J\nall is well"))
        #expect(
            failure.description
                == "gone\\u{1b}[2J\\u{a}all is well\n  (NOT_FOUND, NO\\u{1b})")
        #expect(JSONMapping.text(.string("\u{7F}\u{9B}é")) == #""\u007f\u009bé""#)
    }

    /// A backup's files get the names that a server lists.
    @Test(arguments: [
        "a\r\nb", "a\nb", "a\u{1B}[2J", "\u{9B}2J", "../a", "vault/..", "a b", "", "/a",
    ])
    func aNameThatLeavesTheFolderOrTheLine_isRefused(name: String) {
        #expect(!BackupCommand.isSafe(name))
    }

    @Test(arguments: ["identity", "vault/0000000000000001.object"])
    func namesOfADataDirectory_areTaken(name: String) {
        #expect(BackupCommand.isSafe(name))
    }

    @Test(arguments: ["nan", "inf", "-1", "1e11", "x"]) func noTime(text: String) {
        #expect(Seconds(argument: text) == nil)
    }

    @Test func times() {
        #expect(Seconds(argument: "0.25")?.milliseconds == 250)
        #expect(Seconds(argument: "31536000")?.milliseconds == 31_536_000_000)
    }

    @Test func tableColumnsAlign() {
        var table = Table(["A", "LONG"])
        table.add(["xyz", "1"])
        #expect(
            table.lines.map { $0.replacing("\u{1B}[2m", with: "").replacing("\u{1B}[0m", with: "") }
                == ["A    LONG", "xyz  1"])
    }

    @Test(arguments: [
        (30, "in 30 s"), (-120, "2 min ago"), (7_200, "in 2 h"), (-200_000, "2 d ago"),
    ])
    func relativeTimes(_ seconds: Int64, _ text: String) {
        let now = WallTime(milliseconds: 1_000_000_000_000)
        #expect(Shown.relative(now.advanced(byMilliseconds: seconds * 1_000), now: now) == text)
    }
}
