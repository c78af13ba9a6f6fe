// What the command line prints is what scripts and people rely on.

import Testing
import TriageBase
import TriageCodec

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
