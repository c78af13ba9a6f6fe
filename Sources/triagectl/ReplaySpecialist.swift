// A simulated specialist: claims, looks, answers, decides and closes, at the pace of real
// responders.

internal import TriageBase
internal import TriageCodec
internal import TriageGRPC
internal import TriageIO

/// What simulated specialists hold, so that the end of a replay can give it back.
actor ReplayHoldings {
    private var offers: [String: (client: CommandClient, offer: DynamicMessage)] = [:]

    /// A specialist has an offer, or the lease that came of it.
    func add(_ offer: DynamicMessage, of client: CommandClient) {
        offers[offer.text("name")] = (client, offer)
    }

    /// The case is closed.
    func remove(_ offer: DynamicMessage) {
        offers[offer.text("name")] = nil
    }

    /// Gives everything back, as people do at the end of a shift: a person may hold few cases, and
    /// the next replay has the same people.
    func releaseAll() async {
        for (client, offer) in offers.values {
            var request = Lease.request(offer)
            request["request_id"] = .string(RequestIDText.fresh())
            request["reason"] = .enumeration("RELEASE_REASON_SHIFT_END")
            // One that has ended meanwhile needs no release.
            _ = try? await client.call("ReleaseLease", request, timeoutMilliseconds: 10_000)
        }
        offers = [:]
    }
}

/// One simulated specialist.
struct ReplaySpecialist: Sendable {
    let client: CommandClient
    let data: ReplayData
    let report: ReplayReport
    let holdings: ReplayHoldings
    /// Virtual seconds in a real one.
    let speed: Double
    var random: SeededRandom

    /// Works until its task is cancelled, or the server goes away.
    mutating func work() async {
        while !Task.isCancelled {
            do {
                try await takeOne()
            } catch let failure as CallFailure {
                // What the end of the replay cuts off was not refused.
                if Task.isCancelled { return }
                // Has hands full: cases that an earlier replay left, or that take long.
                if failure.error.reason != "TOO_MANY_ASSIGNMENTS" {
                    await report.refused(reason: failure.error.reason)
                }
                switch failure.error.code {
                case .unavailable, .permissionDenied, .unauthenticated: return
                // The intake is what is measured: a refusal must not be asked for again at once.
                default: try? await Task.sleep(nanoseconds: 200_000_000)
                }
            } catch {
                return
            }
        }
    }

    private mutating func takeOne() async throws {
        var claim = DynamicMessage()
        claim["request_id"] = .string(RequestIDText.fresh())
        claim["wait_duration"] = .duration(milliseconds: 1_000)
        let reply = try await client.call("ClaimNext", claim, timeoutMilliseconds: 10_000)
        guard let offer = reply.message("assignment"), let value = reply.message("case") else {
            return
        }
        await holdings.add(offer, of: client)
        let level = Shown.level(value)
        if let received = value.time("create_time") {
            let waited = SystemClock().wallTime().milliseconds - received.milliseconds
            await report.claimed(
                level: level, waitMilliseconds: UInt64(Double(max(0, waited)) * speed))
        }
        let pace = response(toLevel: level)
        try await pause(virtualSeconds: pace.reactionSeconds)
        try await write("AcceptCase", Lease.request(offer))
        try await pause(virtualSeconds: pace.handlingSeconds)
        try await finish(value, offer)
    }

    private func finish(_ value: DynamicMessage, _ offer: DynamicMessage) async throws {
        var request = DynamicMessage()
        request["name"] = .string(value.text("name"))
        request["fencing_token"] = .long(offer.int("fencing_token"))
        var answer = request
        answer["answers"] = .message(answers(Shown.level(value)))
        try await write("AnswerProtocol", answer)
        var duties = DynamicMessage()
        for duty in ["referral", "statutory_report", "preservation", "welfare_resource"] {
            duties[duty] = .enumeration("DUTY_ANSWER_DONE")
        }
        var decision = DynamicMessage()
        decision["outcome"] = .enumeration("DECISION_OUTCOME_HARM_ACTIONED")
        decision["policy_version"] = .string("replay-1")
        decision["duties"] = .message(duties)
        var decide = request
        decide["decision"] = .message(decision)
        try await write("DecideCase", decide)
        var close = request
        close["live_risk_ended"] = .bool(true)
        try await write("CloseCase", close)
        await holdings.remove(offer)
        await report.closedCase()
    }

    /// Answers that confirm the level: a lowering would need a second person.
    private func answers(_ level: String) -> DynamicMessage {
        var answers = DynamicMessage()
        answers["protocol_version"] = .string("2026-11")
        answers["happening_now"] = .enumeration(level == "P0" ? "ANSWER_YES" : "ANSWER_NO")
        answers["credible_threat"] = .enumeration(level <= "P1" ? "ANSWER_YES" : "ANSWER_NO")
        answers["action_count"] = .enumeration("ACTION_COUNT_TWO_OR_MORE")
        return answers
    }

    private func write(_ method: String, _ request: DynamicMessage) async throws {
        var request = request
        request["request_id"] = .string(RequestIDText.fresh())
        _ = try await client.call(method, request, timeoutMilliseconds: 10_000)
    }

    /// Draws a real responder's times for the dispatch priority that matches a level.
    private mutating func response(toLevel level: String) -> ReplayData.Response {
        let letter = ["P0": "E", "P1": "D", "P2": "C", "P3": "B", "P4": "A"][level] ?? "A"
        let known = data.responses[letter] ?? data.responses.values.first ?? []
        guard !known.isEmpty else {
            return ReplayData.Response(reactionSeconds: 60, handlingSeconds: 600)
        }
        return known[Int(random.next() % UInt64(known.count))]
    }

    private func pause(virtualSeconds: Double) async throws {
        try await Task.sleep(nanoseconds: UInt64(max(0, virtualSeconds / speed) * 1e9))
    }
}
