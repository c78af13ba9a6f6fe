// What is sent for what people wrote: files of requests, and the ids under which these are sent
// again.

import TestSupport
import Testing
import TriageBase
import TriageCodec

@testable import triagectl

@Suite struct RequestTests {
    private let directory: TempDirectory

    init() throws { directory = try TempDirectory() }

    private func reports(_ text: String) throws -> [DynamicMessage] {
        guard
            case .message(let schema)? = MethodSchema.named("SubmitReport").request
                .shape(ofField: "report")
        else { preconditionFailure("SubmitReport takes a report") }
        return try RequestFile.read(path: try directory.write("file", text), schema: schema)
    }

    @Test(arguments: [
        #"{"subject":{"id":"1","accountId":null},"description":null,"modifiers":null}"#,
        "subject:\n  id: '1'\n  account_id: ~\ndescription:\nmodifiers: null\n",
    ])
    func whatIsNull_isNotPopulated(text: String) throws {
        let report = try #require(try reports(text).first)
        #expect(report["description"] == nil && report["modifiers"] == nil)
        let subject = try #require(report.message("subject"))
        #expect(subject["account_id"] == nil && subject.text("id") == "1")
    }

    @Test(arguments: [#"{"description":"null"}"#, "description: 'null'\n", "description: '~'\n"])
    func whatIsQuoted_isText(text: String) throws {
        let written = try #require(try reports(text).first).text("description")
        #expect(written == "null" || written == "~")
    }

    @Test(arguments: [#"{"modifiers":[null]}"#, "- ~\n", "~\n"])
    func nullAmongOthers_isRefused(text: String) throws {
        #expect(throws: (any Error).self) { try reports(text) }
    }

    @Test func partsOfOneRequest_haveIdsOfTheirOwn_theSameEachTime() throws {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e"
        let parts = try (0..<3).map { try RequestIDText.derived(from: id, "\($0)") }
        #expect(Set(parts + [id]).count == 4)
        #expect(parts.allSatisfy { RequestID(uuid: $0.utf8.span)?.uuidText == $0 })
        #expect(try RequestIDText.derived(from: id.uppercased(), "0") == parts[0])
        // Whoever repeats it may have another version of this program.
        #expect(parts[0] == "8d5db592-d2d9-8e9d-9727-f57fbdf0a523")
    }

    @Test(arguments: ["", "x", "00000000-0000-0000-0000-000000000000"])
    func whatIsNoUUID_isRefused(id: String) {
        #expect(throws: (any Error).self) { try RequestIDText.derived(from: id, "0") }
    }
}
