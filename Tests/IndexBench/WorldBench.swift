// The World at full size: what a report, a claim and a recovery cost, and what a case weighs.

import TriageBase
import TriageDomain
import TriageIO

/// One World with `count` queued cases, 99 of 100 of which a general specialist may not take.
struct WorldBench {
    let count: Int
    private static let contentBytes = 150
    private static let batch = 50_000
    private static let start: Int64 = 1_800_000_000_000

    func run() {
        let resident = residentBytes()
        var world = World()
        var bench = Feed()
        measureIntake(&world, &bench, resident)
        measureClaims(&world, &bench)
        measureSnapshot(&world, &bench)
        measureRecovery(world)
    }

    /// Makes commands and headers in the order of a journal.
    private struct Feed {
        var random = SeededRandom(seed: 3)
        var sequence: UInt64 = 0
        var now = WallTime(milliseconds: start)
        var events: [Event] = []
        let intake = Principal(spiffeID: "spiffe://example.org/service/intake-gateway")

        mutating func facts() -> ReportFacts {
            let bits = random.next()
            let general = bits % 100 == 0
            let family: HarmFamily =
                general ? .domesticViolence : HarmFamily.allCases[1 + Int(bits >> 8 % 4)]
            return ReportFacts(
                family: family, reporter: .user, imminence: Imminence.allCases[Int(bits >> 16 % 5)],
                modifiers: RiskModifiers(rawValue: UInt8(bits >> 24 & 0x7F)),
                signalPermille: UInt16(bits >> 32 % 1_000), live: bits >> 44 % 8 == 0,
                language: LanguageCode(rawValue: UInt16(bits >> 48 % 30)),
                region: .unknown, routing: RoutingRegion.allCases[Int(bits >> 54 % 4)],
                clearance: general ? .general : .graphic,
                subject: Hash128(high: bits, low: sequence))
        }

        /// Decides and applies one command under its own request id.
        mutating func carryOut(_ command: Command, _ principal: Principal, _ world: inout World) {
            sequence += 1
            if sequence % 16 == 0 { now = now.advanced(byMilliseconds: 1) }
            let context = CommandContext(
                principal: principal, now: now, requestID: RequestID(high: 1, low: sequence),
                fingerprint: Hash128(high: 2, low: sequence), random: 0)
            events.removeAll(keepingCapacity: true)
            do {
                _ = try world.decide(command, context, into: &events)
            } catch {
                fatalError("\(error)")
            }
            guard !events.isEmpty else { return }
            world.apply(
                events,
                EventHeader(
                    sequence: sequence, time: now, principal: principal,
                    requestID: context.requestID, fingerprint: context.fingerprint))
        }
    }

    private func measureIntake(_ world: inout World, _ feed: inout Feed, _ resident: Int) {
        var times: [Double] = []
        var left = count
        while left > 0 {
            let part = min(left, Self.batch)
            let commands: [Command] = (0..<part).map { _ in
                feed.sequence += 1
                let content = [UInt8](repeating: 7, count: Self.contentBytes)
                return .submitReport(facts: feed.facts(), content: content)
            }
            let intake = feed.intake
            times.append(
                nanoseconds {
                    for command in commands { feed.carryOut(command, intake, &world) }
                } / Double(part))
            left -= part
        }
        // The second half: at full size.
        let late = times.suffix(max(1, times.count / 2)).sorted()
        report("submit", late[late.count / 2] / 1_000, "us", reach: 1.5, of: "world")
        report("submit_slowest_batch", (times.max() ?? 0) / 1_000, "us", reach: 3, of: "world")
        // Text: its bytes, and the header and rounding of the array that holds them.
        let text = (32 + Self.contentBytes + 15) / 16 * 16
        let perCase = Double(residentBytes() - resident) / Double(count) - Double(text)
        report("bytes_per_case_beyond_text", perCase, "B", reach: 1_000, of: "world")
        report("lanes", Double(world.counts.lanes), "lanes", reach: 1_000, of: "world")
    }

    private func measureClaims(_ world: inout World, _ feed: inout Feed) {
        let general = Eligibility(
            skills: .max, clearances: 1 << Clearance.general.rawValue, regions: .max, languages: [],
            allLanguages: true)
        let nobody = Eligibility(
            skills: 1 << 10, clearances: 1 << Clearance.general.rawValue, regions: 1,
            languages: [77])
        let rounds = Array(0..<20_000)
        for (name, eligibility) in [("eligible", general), ("nothing", nobody)] {
            var events: [Event] = []
            let context = CommandContext(
                principal: feed.intake, now: feed.now, requestID: RequestID(high: 3, low: 3),
                fingerprint: Hash128(high: 0, low: 0), random: 0)
            let decide = medianNanoseconds(rounds) { _ in
                events.removeAll(keepingCapacity: true)
                let decision = try? world.decide(
                    .claimNext(eligibility: eligibility), context, into: &events)
                keep(decision)
            }
            report("claim_decide_\(name)", decide / 1_000, "us", reach: 2, of: "world")
        }
        let specialists = (0..<4_000).map {
            Principal(spiffeID: "spiffe://example.org/specialist/\($0)")
        }
        let claim = medianNanoseconds(specialists) {
            feed.carryOut(.claimNext(eligibility: general), $0, &world)
        }
        report("claim", claim / 1_000, "us", reach: 5, of: "world")
    }

    private func measureSnapshot(_ world: inout World, _ feed: inout Feed) {
        var copy: WorldState?
        let taken = nanoseconds { copy = world.snapshotState }
        report("snapshot_take", taken / 1_000, "us", reach: 100, of: "world")
        let intake = feed.intake
        let after = nanoseconds {
            for _ in 0..<10_000 {
                feed.sequence += 1
                feed.carryOut(.submitReport(facts: feed.facts(), content: []), intake, &world)
            }
        }
        report("submit_after_snapshot", after / 10_000 / 1_000, "us", reach: 3, of: "world")
        keep(copy)
    }

    private func measureRecovery(_ world: borrowing World) {
        let state = world.snapshotState
        let time = nanoseconds {
            var builder = WorldBuilder()
            builder.set(state.counters)
            do {
                for place in state.principals.indices {
                    try builder.add(
                        PrincipalRecord(
                            index: PrincipalIndex(UInt32(place)),
                            principal: state.principals[place]))
                }
                for value in state.cases { try builder.add(value) }
                for value in state.assignments { try builder.add(value) }
                for value in state.ledger { try builder.add(value) }
                let rebuilt = try builder.finish()
                keep(rebuilt.counts.cases)
            } catch {
                fatalError("\(error)")
            }
        }
        report("rebuild", time / 1e9, "s", reach: 3, of: "world")
    }

    /// Bytes of this process that are in memory.
    private func residentBytes() -> Int {
        let text = (try? TextFile.read(path: "/proc/self/statm", bytesMax: 4_096)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4_096
    }
}
