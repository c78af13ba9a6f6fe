// The built-in schema against the .proto files, names and page tokens.

import CProtobufC
import CTriageProtos
import Foundation
import Testing
import TriageBase
import TriageDomain

@testable import TriageCodec

@Suite("Descriptor set") struct DescriptorSetTests {
    let set = DescriptorSet.embedded

    /// Every `rpc` line of the .proto files: path and streaming.
    static func declared() throws -> Set<DescriptorSet.Method> {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Protos").standardized
        let ours = ["triage", "assignment", "disclosure", "evidence", "audit", "operations"]
        let files =
            ours.map { "triaged/v1/\($0)_service" } + [
                "grpc/channelz/v1/channelz", "grpc/health/v1/health",
                "grpc/reflection/v1/reflection", "grpc/reflection/v1alpha/reflection",
            ]
        var methods: Set<DescriptorSet.Method> = []
        for file in files {
            let text = try String(
                contentsOf: root.appending(path: file + ".proto"), encoding: .utf8)
            let package = try #require(text.firstMatch(of: /package ([\w.]+);/)).1
            let service = try #require(text.firstMatch(of: /\nservice (\w+)\b/)).1
            for rpc in text.matches(of: /rpc (\w+)\((stream )?\w+\) returns \((stream )?\w+\)/) {
                methods.insert(
                    DescriptorSet.Method(
                        path: "/\(package).\(service)/\(rpc.1)", clientStreaming: rpc.2 != nil,
                        serverStreaming: rpc.3 != nil))
            }
        }
        return methods
    }

    @Test func hasTheMethodsThatTheFilesDeclare() throws {
        #expect(try Set(set.methods) == Self.declared())
        #expect(set.methods.count == Set(set.methods).count)
        #expect(
            set.services == [
                "grpc.channelz.v1.Channelz", "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
                "triaged.v1.AssignmentService", "triaged.v1.AuditService",
                "triaged.v1.DisclosureService", "triaged.v1.EvidenceService",
                "triaged.v1.OperationsService", "triaged.v1.TriageService",
            ])
    }

    @Test("a symbol of every kind is found in its file") func findsSymbols() {
        func file(_ symbol: String) -> [UInt8]? {
            guard case .files(let files) = set.answer(.fileContainingSymbol(symbol)) else {
                return nil
            }
            return files.first
        }
        let report = file("triaged.v1.Report")
        #expect(report != nil)
        for symbol in [
            "triaged.v1.Report.subject", "triaged.v1.HarmFamily",
            "triaged.v1.HARM_FAMILY_TERRORISM", ".triaged.v1.Report",
        ] {
            #expect(file(symbol) == report, "\(symbol)")
        }
        #expect(file("triaged.v1.TriageService.SubmitReport") == file("triaged.v1.TriageService"))
        #expect(file("grpc.health.v1.HealthCheckResponse.ServingStatus") != nil)
        #expect(file("google.protobuf.Timestamp") != nil)
        #expect(file("triaged.v1.Nothing") == nil)
        #expect(file("triaged.storage.v1.JournalRecord") == nil)
    }

    /// Which message types each message type has fields of, by their full names.
    private static func parts(of set: [UInt8]) -> [String: Set<String>] {
        var parts: [String: Set<String>] = [:]
        func fields(_ bytes: ArraySlice<UInt8>) -> [DescriptorReader.Field] {
            var reader = DescriptorReader(Array(bytes))
            var out: [DescriptorReader.Field] = []
            while let field = reader.next() { out.append(field) }
            return out
        }
        // DescriptorProto: name = 1, field = 2, nested_type = 3. FieldDescriptorProto: type_name =
        // 6, of an enum too, which has no fields.
        func add(message bytes: ArraySlice<UInt8>, _ scope: String) {
            let name = scope + DescriptorReader.name(of: bytes)
            parts[name] = []
            for case (let number, let value?) in fields(bytes).map({ ($0.number, $0.bytes) }) {
                if number == 3 { add(message: value, name + ".") }
                guard number == 2 else { continue }
                for type in fields(value) where type.number == 6 {
                    guard let text = type.bytes else { continue }
                    parts[name]?.insert(String(decoding: text.dropFirst(), as: UTF8.self))
                }
            }
        }
        // FileDescriptorSet: file = 1. FileDescriptorProto: package = 2, message_type = 4
        for case let file? in fields(set[...]).map(\.bytes) {
            var scope = ""
            for case (let number, let value?) in fields(file).map({ ($0.number, $0.bytes) }) {
                if number == 2 { scope = String(decoding: value, as: UTF8.self) + "." }
                if number == 4 { add(message: value, scope) }
            }
        }
        return parts
    }

    /// The same of the types that a schema leads to.
    private static func parts(from schemas: [MessageSchema]) -> [String: Set<String>] {
        var parts: [String: Set<String>] = [:]
        var waiting = schemas
        while let schema = waiting.popLast() {
            guard parts[schema.name] == nil else { continue }
            let inner = (0..<schema.fieldCount).map { schema.field(at: $0) }
                .filter { $0.kind == .message }.map(\.messageSchema)
            parts[schema.name] = Set(inner.map(\.name))
            waiting += inner
        }
        return parts
    }

    /// Takes away, again and again, the types that have no parts left: what stays contains itself.
    private static func recursive(_ parts: [String: Set<String>]) -> (Set<String>, depth: Int) {
        var left = parts
        var depth = 0
        while true {
            let leaves = left.filter { $1.isDisjoint(with: left.keys) }.keys
            if leaves.isEmpty { return (Set(left.keys), depth) }
            for name in leaves { left[name] = nil }
            depth += 1
        }
    }

    /// What walks messages by recursion is bounded by the schema alone.
    @Test func noPublishedTypeContainsItself() throws {
        let bytes = unsafe [UInt8](
            UnsafeBufferPointer(
                start: triaged_descriptor_set(), count: triaged_descriptor_set_size()))
        let parts = Self.parts(of: bytes)
        #expect(parts["triaged.v1.Report"]?.contains("triaged.v1.Subject") == true)
        let (recursive, depth) = Self.recursive(parts)
        #expect(recursive == [])
        #expect((3..<Limits.messageDepthMax).contains(depth))
    }

    @Test func noStoredTypeContainsItself() {
        var record = unsafe Triaged__Storage__V1__JournalRecord()
        unsafe triaged__storage__v1__journal_record__init(&record)
        var snapshot = unsafe Triaged__Storage__V1__SnapshotRecord()
        unsafe triaged__storage__v1__snapshot_record__init(&snapshot)
        var content = unsafe Triaged__Storage__V1__ReportContent()
        unsafe triaged__storage__v1__report_content__init(&content)
        var filing = unsafe Triaged__Storage__V1__DisclosureFiling()
        unsafe triaged__storage__v1__disclosure_filing__init(&filing)
        let parts = unsafe Self.parts(from: [
            MessageSchema(record.base.descriptor), MessageSchema(snapshot.base.descriptor),
            MessageSchema(content.base.descriptor), MessageSchema(filing.base.descriptor),
        ])
        #expect(parts["triaged.storage.v1.Event"]?.isEmpty == false)
        let (recursive, depth) = Self.recursive(parts)
        #expect(recursive == [])
        #expect((3..<Limits.messageDepthMax).contains(depth))
    }

    /// The walk sees it, also around a corner.
    @Test func aTypeThatContainsItself_isFound() {
        func field(_ type: String) -> [UInt8] { Wire.text(2, Wire.text(6, "." + type)) }
        func message(_ name: String, _ fields: [UInt8]) -> [UInt8] {
            Wire.text(1, name) + fields
        }
        let twig = Wire.text(3, message("Twig", field("a.Tree")))
        let messages = [
            message("Leaf", []), message("Tree", field("a.Leaf") + field("a.Branch") + twig),
            message("Branch", field("a.Tree.Twig")),
        ]
        let file = Wire.text(2, "a") + messages.flatMap { Wire.text(4, $0) }
        let (recursive, _) = Self.recursive(Self.parts(of: Wire.text(1, file)))
        #expect(recursive == ["a.Tree", "a.Branch", "a.Tree.Twig"])
    }

    @Test func givesAFileWithItsImports() {
        let name = "triaged/v1/triage_service.proto"
        guard case .files(let files) = set.answer(.fileByName(name)) else {
            Issue.record("no files")
            return
        }
        let names = files.map { file in
            // FileDescriptorProto.name is its first field.
            String(decoding: file[2..<(2 + Int(file[1]))], as: UTF8.self)
        }
        #expect(names.first == name)
        #expect(
            Set(names) == [
                name, "google/protobuf/timestamp.proto", "triaged/v1/case.proto",
                "triaged/v1/report.proto",
            ])
        #expect(names.count == 4)
    }

    @Test func encodesAnswers() throws {
        let encoder = ReplyEncoder(pageTokenKey: .random())
        func text(_ question: ReflectionRequest.Question) -> String {
            let request = ReflectionRequest(host: "here", question: question)
            return String(decoding: encoder.reflection(request, set), as: UTF8.self)
        }
        #expect(text(.listServices("")).contains("triaged.v1.TriageService"))
        #expect(text(.fileContainingExtension(type: "a.B", number: 1)).contains("no extensions"))
        #expect(text(.extensionNumbers(type: "a.B")).contains("no such type"))
        #expect(!text(.extensionNumbers(type: "triaged.v1.Case")).contains("no such type"))
        #expect(text(.fileByName("a.proto")).contains("no such file"))
        #expect(text(.none).contains("asks nothing"))
        // The host and the question are echoed: valid_host (1), original_request (2).
        let echo = Array(text(.fileByName("a.proto")).utf8)
        #expect(
            Array(echo.prefix(23))
                == Wire.text(1, "here")
                + Wire.text(2, Wire.text(1, "here") + Wire.text(3, "a.proto")))
    }

    @Test func refusesDamagedSets() {
        #expect(DescriptorSet([]) == nil)
        #expect(DescriptorSet([0x0A, 5, 1]) == nil)
        #expect(DescriptorSet(Wire.text(1, Wire.text(2, "package without name"))) == nil)
    }
}

@Suite("Resource names") struct ResourceNameTests {
    @Test("what parses is what would be written", arguments: [1, 9, 10, 123_456, (1 << 48) - 1])
    func roundTrips(_ number: UInt64) {
        let arena = Arena()
        let names = [
            ResourceName.text(CaseNumber(number)), ResourceName.text(AssignmentNumber(number)),
            ResourceName.text(DisclosureID(number)),
            ResourceName.text(CaseNumber(number), ReportNumber(number)),
        ].map { Array($0.utf8) }
        #expect(decode(names[0]) { ResourceName.parseCase($0) } == CaseNumber(number))
        #expect(decode(names[1]) { ResourceName.parseAssignment($0) } == AssignmentNumber(number))
        #expect(decode(names[2]) { ResourceName.parseDisclosure($0) } == DisclosureID(number))
        let report = decode(names[3]) { ResourceName.parseReport($0) }
        #expect(report?.0 == CaseNumber(number) && report?.1 == ReportNumber(number))
        // The arena writes the same.
        #expect(unsafe Array(string(arena.name(CaseNumber(number))).utf8) == names[0])
        #expect(unsafe Array(string(arena.name(AssignmentNumber(number))).utf8) == names[1])
        let both = unsafe string(arena.name(CaseNumber(number), ReportNumber(number)))
        #expect(Array(both.utf8) == names[3])
        #expect(unsafe string(arena.etag(revision: number)) == ResourceName.etag(revision: number))
    }

    @Test(
        "nothing else parses",
        arguments: [
            "", "cases/", "cases/0", "cases/01", "cases/-1", "cases/+1", "cases/1 ", "cases/1/",
            "Cases/1", "cases/1a", "cases/281474976710656", "cases/99999999999999999999",
            "assignments/", "assignments/0", "disclosureRequests/0000000000000000",
            "disclosureRequests/00000000DEADBEEF", "disclosureRequests/deadbeef",
            "disclosureRequests/00000000deadbeef0", "cases/1/reports/", "cases/1/reports/0",
            "cases//reports/1", "cases/1/reports/1/2", "reports/1", "cases/1/report/1",
        ])
    func refuses(_ text: String) {
        let bytes = Array(text.utf8)
        #expect(ResourceName.parseCase(bytes.span) == nil)
        #expect(ResourceName.parseAssignment(bytes.span) == nil)
        #expect(ResourceName.parseDisclosure(bytes.span) == nil)
        #expect(ResourceName.parseReport(bytes.span) == nil)
    }

    @Test func nothingHasNoName() {
        #expect(ResourceName.text(CaseNumber.none).isEmpty)
        #expect(ResourceName.text(AssignmentNumber.none).isEmpty)
        #expect(ResourceName.text(DisclosureID.none).isEmpty)
        // The arena must outlive what it lent.
        let arena = Arena()
        let name = unsafe arena.name(CaseNumber.none)
        withExtendedLifetime(arena) { #expect(unsafe string(name).isEmpty) }
    }

    @Test func etagsHaveOneForm() {
        #expect(ResourceName.etag(revision: 255) == "00000000000000ff")
        for text in ["ff", "00000000000000FF", "00000000000000fg", "\"00000000000000ff\""] {
            #expect(decode(Array(text.utf8)) { ResourceName.parseEtag($0) } == nil)
        }
    }
}

@Suite("Page tokens") struct PageTokenTests {
    let key = PageTokenKey(first: 5, second: 6)
    let binding = PageBinding(
        principal: Principal(journaled: "spiffe://a"), filter: Hash128(high: 1, low: 2))

    func opens(
        _ token: String, _ list: PageToken.List = .cases, _ binding: PageBinding? = nil,
        _ key: PageTokenKey? = nil
    ) -> Bool {
        let bytes = Array(token.utf8)
        return PageToken.open(bytes.span, list, binding ?? self.binding, key ?? self.key) != nil
    }

    @Test func opensForItsListCallerFilterAndKeyOnly() {
        let token = PageToken.seal(.cases, high: 7, low: 8, binding, key)
        let bytes = Array(token.utf8)
        let place = PageToken.open(bytes.span, .cases, binding, key)
        #expect(place?.high == 7 && place?.low == 8)
        #expect(!opens(token, .disclosures))
        let bob = PageBinding(
            principal: Principal(journaled: "spiffe://b"), filter: Hash128(high: 1, low: 2))
        #expect(!opens(token, .cases, bob))
        let other = PageBinding(
            principal: Principal(journaled: "spiffe://a"), filter: Hash128(high: 1, low: 3))
        #expect(!opens(token, .cases, other))
        #expect(!opens(token, .cases, nil, PageTokenKey(first: 5, second: 7)))
    }

    @Test func anyChangeOfAnyDigitIsSeen() {
        let token = Array(PageToken.seal(.cases, high: 7, low: 8, binding, key).utf8)
        for index in token.indices {
            for digit in "0123456789abcdefA-".utf8 where digit != token[index] {
                var changed = token
                changed[index] = digit
                #expect(!opens(String(decoding: changed, as: UTF8.self)))
            }
        }
        #expect(!opens(String(decoding: token.dropLast(), as: UTF8.self)))
        #expect(!opens(String(decoding: token + [48], as: UTF8.self)))
    }

    /// Source: vectors.h of the reference implementation, for no byte and for eight.
    @Test func agreesWithSipHash() {
        let first: UInt64 = 0x0706_0504_0302_0100
        let second: UInt64 = 0x0F0E_0D0C_0B0A_0908
        var empty = SipHash(first, second)
        #expect(empty.finish(byteCount: 0) == 0x726F_DB47_DD0E_0E31)
        var word = SipHash(first, second)
        word.absorb(first)
        #expect(word.finish(byteCount: 8) == 0x93F5_F579_9A93_2462)
    }
}
