// The calls that a load makes: serialised once, then patched in place, so that the client does not
// measure its own encoder.

internal import Histogram
internal import TriageBase
internal import TriageCodec
internal import TriageIO

/// GetStatus.
struct StatusSource: CallSource {
    let path = MethodSchema.named("GetStatus").path

    func message(_ number: Int) -> [UInt8] { [] }
}

/// SubmitReport, each with a request id and a subject of its own; about 200 bytes.
struct ReportSource: CallSource {
    let path = MethodSchema.named("SubmitReport").path
    private let common: Template
    private let restricted: Template
    private let ineligiblePercent: Int
    private let run: UInt64

    /// Prepares the messages.
    ///
    /// - Parameter ineligiblePercent: Share about child sexual exploitation, 0 ... 100; the rest is
    ///   about suicide.
    init(ineligiblePercent: Int) {
        self.ineligiblePercent = ineligiblePercent
        var generator = SystemRandomNumberGenerator()
        run = generator.next()
        common = Template(family: "HARM_FAMILY_SUICIDE_SELF_HARM")
        restricted = Template(family: "HARM_FAMILY_CHILD_SEXUAL_EXPLOITATION")
    }

    func message(_ number: Int) -> [UInt8] {
        let template = number % 100 < ineligiblePercent ? restricted : common
        return template.filled(run: run, number: UInt64(number))
    }

    /// A serialised request with places for the request id and the subject's id.
    private struct Template {
        private static let requestID = "00000000-0000-4000-8000-000000000000"
        private static let subjectID = "bench-ssssssssssssssssnnnnnnnnnnnnnnnn"
        private let bytes: [UInt8]
        private let requestIDAt: Int
        private let subjectAt: Int

        init(family: String) {
            var subject = DynamicMessage()
            subject["kind"] = .enumeration("SUBJECT_KIND_POST")
            subject["id"] = .string(Self.subjectID)
            var reporter = DynamicMessage()
            reporter["kind"] = .enumeration("REPORTER_KIND_CLASSIFIER")
            var signal = DynamicMessage()
            signal["source"] = .string("bench-model")
            signal["label"] = .string("synthetic")
            signal["confidence"] = .double(0.5)
            var report = DynamicMessage()
            report["subject"] = .message(subject)
            report["harm_family"] = .enumeration(family)
            report["reporter"] = .message(reporter)
            report["signals"] = .list([.message(signal)])
            report["language_code"] = .string("en")
            report["region_code"] = .string("US")
            report["description"] = .string("Synthetic report of a load test, no person or event.")
            var request = DynamicMessage()
            request["request_id"] = .string(Self.requestID)
            request["report"] = .message(report)
            do {
                bytes = try MethodSchema.named("SubmitReport").request.encode(request)
            } catch {
                preconditionFailure("the sample report fits the schema: \(error)")
            }
            requestIDAt = Self.place(of: Self.requestID, in: bytes)
            subjectAt = Self.place(of: Self.subjectID, in: bytes)
        }

        private static func place(of text: String, in bytes: [UInt8]) -> Int {
            let wanted = Array(text.utf8)
            for start in 0...(bytes.count - wanted.count) {
                if bytes[start..<start + wanted.count].elementsEqual(wanted) { return start }
            }
            preconditionFailure("the sample report holds its own ids")
        }

        func filled(run: UInt64, number: UInt64) -> [UInt8] {
            var message = bytes
            // UUID 8-4-4-4-12: the last twelve digits count, the first eight and the next four are
            // the run's.
            Self.write(run >> 32, digits: 8, at: requestIDAt, in: &message)
            Self.write(run >> 16, digits: 4, at: requestIDAt + 9, in: &message)
            Self.write(number, digits: 12, at: requestIDAt + 24, in: &message)
            Self.write(run, digits: 16, at: subjectAt + 6, in: &message)
            Self.write(number, digits: 16, at: subjectAt + 22, in: &message)
            return message
        }

        private static func write(
            _ value: UInt64, digits: Int, at start: Int, in message: inout [UInt8]
        ) {
            var rest = value
            for index in (start..<start + digits).reversed() {
                let digit = UInt8(rest & 15)
                message[index] =
                    digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
                rest >>= 4
            }
        }
    }
}

/// Claims one case after another; measures the claims only.
struct ClaimBench {
    let global: GlobalOptions
    let calls: Int

    /// Runs to the end and prints.
    func run() async throws {
        var result = LoadResult()
        let clock = SystemClock()
        let began = clock.monotonicTime()
        try await global.withClient { client in
            while result.calls < calls {
                var claim = DynamicMessage()
                claim["request_id"] = .string(RequestIDText.fresh())
                let start = clock.monotonicTime()
                let reply = try await client.call(
                    "ClaimNext", claim, timeoutMilliseconds: global.timeoutMilliseconds)
                let elapsed = clock.monotonicTime().nanoseconds(since: start)
                result.latency.record(max(1, elapsed))
                result.calls += 1
                guard let offer = reply.message("assignment"), let value = reply.message("case")
                else {
                    result.errors += 1
                    result.firstError = "NOTHING_TO_CLAIM: fill the server first"
                    return
                }
                try await finish(value, offer, client)
            }
        }
        result.seconds = Double(clock.monotonicTime().nanoseconds(since: began)) / 1e9
        try BenchReport.show(result, json: global.json)
    }

    private func finish(
        _ value: DynamicMessage, _ offer: DynamicMessage, _ client: CommandClient
    ) async throws {
        var duties = DynamicMessage()
        for duty in ["referral", "statutory_report", "preservation", "welfare_resource"] {
            duties[duty] = .enumeration("DUTY_ANSWER_DONE")
        }
        var decision = DynamicMessage()
        decision["outcome"] = .enumeration("DECISION_OUTCOME_HARM_ACTIONED")
        decision["policy_version"] = .string("bench-1")
        decision["duties"] = .message(duties)
        var write = DynamicMessage()
        write["name"] = .string(value.text("name"))
        write["fencing_token"] = .long(offer.int("fencing_token"))
        var decide = write
        decide["decision"] = .message(decision)
        for (method, request) in [
            ("AcceptCase", Lease.request(offer)), ("DecideCase", decide), ("CloseCase", write),
        ] {
            var request = request
            request["request_id"] = .string(RequestIDText.fresh())
            _ = try await client.call(
                method, request, timeoutMilliseconds: global.timeoutMilliseconds)
        }
    }
}
