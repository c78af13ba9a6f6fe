// Errors survive the way through trailers, within bounds; statuses of foreign servers are
// understood.

import Testing
import TriageBase
import TriageGRPC

@Suite struct StatusTests {
    private func decode(_ fields: [MetadataField]) -> RPCError? {
        func value(_ name: String) -> [UInt8] {
            fields.first { $0.name == Array(name.utf8) }?.value ?? []
        }
        return Status.decode(
            status: value("grpc-status").span, message: value("grpc-message").span,
            details: value("grpc-status-details-bin").span)
    }

    @Test(arguments: StatusCode.allCases.filter { $0 != .ok })
    func error_withEverything_survivesTrailers(code: StatusCode) {
        let error = RPCError(
            code, reason: "LEASE_NOT_HELD", message: "né 100 %\n", metadata: ["a": "1", "b": "é"],
            fieldViolations: [
                FieldViolation(field: "subject.account_id", description: "is missing"),
                FieldViolation(field: "x", description: ""),
            ], retryAfterMilliseconds: 61_250)
        #expect(decode(Status.trailers(error)) == error)
    }

    @Test func details_areTheBytesThatProtobufWouldWrite() {
        let error = RPCError(.notFound, reason: "R", message: "m", metadata: ["k": "v"])
        let info: [UInt8] =
            [0x0A, 1] + Array("R".utf8) + [0x12, 10] + Array("triaged.v1".utf8)
            + [0x1A, 6, 0x0A, 1, 0x6B, 0x12, 1, 0x76]
        let type = Array("type.googleapis.com/google.rpc.ErrorInfo".utf8)
        let any: [UInt8] = [0x0A, UInt8(type.count)] + type + [0x12, UInt8(info.count)] + info
        let expected: [UInt8] =
            [0x08, 5, 0x12, 1, 0x6D, 0x1A, UInt8(any.count)] + any
        #expect(StatusDetails.encode(error) == expected)
    }

    @Test func trailers_ofAHugeError_stayInBoundsAndKeepTheReason() throws {
        let error = RPCError(
            .invalidArgument, reason: "FIELDS_INVALID",
            message: String(repeating: "☃", count: 10_000),
            metadata: Dictionary(
                uniqueKeysWithValues: (0..<300).map {
                    ("key\($0)", String(repeating: "v", count: 40))
                }),
            fieldViolations: (0..<500).map {
                FieldViolation(field: "f\($0)", description: String(repeating: "d", count: 50))
            })
        let trailers = Status.trailers(error)
        let size = trailers.reduce(0) { $0 + $1.name.count + $1.value.count + 32 }
        #expect(size <= Limits.trailerBytesMax)
        let decoded = try #require(decode(trailers))
        #expect(decoded.reason == "FIELDS_INVALID")
        #expect(decoded.code == .invalidArgument)
    }

    @Test func pushback_saysWhenToTryAgain_orNotTo() {
        func pushback(_ code: StatusCode, _ delay: Int64?) -> String? {
            let error = RPCError(code, reason: "R", message: "m", retryAfterMilliseconds: delay)
            return Status.trailers(error).first {
                $0.name == Array("grpc-retry-pushback-ms".utf8)
            }.map { String(decoding: $0.value, as: UTF8.self) }
        }
        #expect(pushback(.resourceExhausted, 1_500) == "1500")
        #expect(pushback(.resourceExhausted, nil) == "-1")
        #expect(pushback(.unavailable, 0) == "1", "grpcio takes 0 for no answer")
        #expect(pushback(.unavailable, -5) == "1")
        #expect(pushback(.unavailable, nil) == nil)
        #expect(pushback(.aborted, 1_000) == nil)
        func read(_ text: String) -> Int64? { Status.pushback(Array(text.utf8).span) }
        #expect(read("0") == 0)
        #expect(read("1500") == 1_500)
        for text in ["-1", "", "x", "1.5", " 1", "99999999999"] { #expect(read(text) == nil) }
    }

    @Test func trailers_withEverythingAtItsLimit_stayBelow8KiB() {
        let error = RPCError(
            .unavailable, reason: String(repeating: "R", count: 63),
            message: String(repeating: "\u{1}", count: 5_000),
            fieldViolations: (0..<500).map {
                FieldViolation(field: "f\($0)", description: String(repeating: "d", count: 50))
            }, retryAfterMilliseconds: .max)
        let size = Status.trailers(error).reduce(0) { $0 + $1.name.count + $1.value.count + 32 }
        #expect(size <= Limits.trailerBytesMax)
        #expect(Limits.trailerBytesMax < 8 << 10)
    }

    @Test func violations_areKeptFromTheFront() throws {
        let error = RPCError(
            .invalidArgument, reason: "R", message: "",
            fieldViolations: (0..<2_000).map { FieldViolation(field: "f\($0)", description: "x") })
        let decoded = try #require(decode(Status.trailers(error)))
        #expect(!decoded.fieldViolations.isEmpty)
        #expect(decoded.fieldViolations.count < 2_000)
        #expect(
            decoded.fieldViolations
                == Array(error.fieldViolations.prefix(decoded.fieldViolations.count)))
    }

    @Test(arguments: ["", "x", "17", "99", "100", "-1", "0x"])
    func status_thatIsNoKnownNumber_isUnknown(text: String) {
        let none: [UInt8] = []
        let error = Status.decode(
            status: Array(text.utf8).span, message: none.span, details: none.span)
        #expect(error?.code == .unknown)
    }

    @Test func brokenDetails_areSkipped() {
        let none: [UInt8] = []
        for details in [
            [0xFF], [0x1A, 0x7F], [0x1A, 2, 0x0A, 9], Array(repeating: 0x80, count: 30),
        ] {
            let bytes = details.map { UInt8($0) }
            let error = Status.decode(
                status: Array("5".utf8).span, message: none.span,
                details: Base64.encode(bytes.span).span)
            #expect(error == RPCError(.notFound, reason: "", message: ""))
        }
    }

    @Test func randomDetails_neverTrap() {
        var random = SeededRandom(seed: 0xDE7A)
        var error = RPCError(.internal, reason: "", message: "")
        for _ in 0..<20_000 {
            let bytes = (0..<Int(random.next() % 60)).map { _ in
                UInt8(truncatingIfNeeded: random.next())
            }
            StatusDetails.decode(bytes, into: &error)
        }
        #expect(error.code == .internal)
    }

    @Test func foreignStatuses_areMapped() {
        #expect(Status.code(httpStatus: 404) == .unimplemented)
        #expect(Status.code(httpStatus: 503) == .unavailable)
        #expect(Status.code(httpStatus: 418) == .unknown)
        #expect(Status.code(http2Error: 7) == .unavailable)
        #expect(Status.code(http2Error: 8) == .cancelled)
        #expect(Status.code(http2Error: 11) == .resourceExhausted)
        #expect(Status.code(http2Error: 0) == .internal)
    }
}
