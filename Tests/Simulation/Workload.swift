// What is asked: commands of all kinds from several people, repeats, reuses of ids, claims that
// wait, reads, watches, snapshots. Draws from its own lots; knows nothing of disks.

import DomainFixtures
import TriageBase
import TriageCodec
import TriageDomain
import TriageEngine

/// Draws requests.
struct Workload {
    private var commands: RandomCommands
    private var lots: Lots
    private var nextCall: UInt64 = 1
    private var nextID: UInt64 = 1

    init(seed: UInt64) {
        commands = RandomCommands(seed: seed)
        lots = Lots(seed: mix64(seed))
    }

    mutating func request(
        _ operation: EngineOperation, by principal: Principal, call: UInt64? = nil
    ) -> EngineRequest {
        defer { if call == nil { nextCall += 1 } }
        let call = call ?? nextCall
        return EngineRequest(
            call: call, echo: call << 1, principal: principal, operation: operation)
    }

    /// One request, for a World as it is.
    mutating func draw(
        _ world: borrowing World, _ life: Life
    ) -> (request: EngineRequest, asked: Asked) {
        switch lots.below(32) {
        case 0...15: write(world, life)
        case 16...19: repeated(life) ?? write(world, life)
        case 20: reuse(world, life) ?? write(world, life)
        case 21...23: read(world)
        case 24...26: watch(world, life)
        case 27: cancel(life) ?? read(world)
        case 30 where lots.oneIn(4): renewKey(life)
        case 28: (request(.status, by: .intake), .read(recorded: false))
        case 29: snapshot(life)
        default: write(world, life)
        }
    }

    private mutating func freshKey() -> WriteKey {
        defer { nextID += 1 }
        return WriteKey(
            requestID: RequestID(high: 7, low: nextID), fingerprint: Hash128(high: 1, low: nextID))
    }

    private mutating func command(
        _ world: borrowing World, _ key: WriteKey
    ) -> (operation: EngineOperation, principal: Principal) {
        let (command, principal) = commands.command(world.snapshotState)
        switch command {
        case .claimNext(let eligibility):
            let wait = lots.pick([0, 0, 20, 2_000, 55_000] as [Int64])
            return (.claim(eligibility, key, waitMilliseconds: wait), principal)
        case .submitReport(let facts, _):
            // Now and then longer than a segment, which is refused.
            let count = lots.below(lots.pick([40, 400, 3_000, 3_000, 12_000]))
            return (
                .write(.submitReport(facts: facts, content: Self.content(count)), key), principal
            )
        default: return (.write(command, key), principal)
        }
    }

    /// A report's content, as the codec packs it: a description of so many bytes
    /// (`report_content.proto`).
    private static func content(_ count: Int) -> [UInt8] {
        guard count > 0 else { return [] }
        var bytes: [UInt8] = [11 << 3 | 2]
        var rest = count
        while rest >= 128 {
            bytes.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        bytes.append(UInt8(rest))
        return bytes + (0..<count).map { UInt8(ascii: "a") + UInt8($0 % 26) }
    }

    private mutating func write(
        _ world: borrowing World, _ life: Life
    ) -> (request: EngineRequest, asked: Asked) {
        let key = freshKey()
        if let stored = life.puts?.takeStored(), !lots.oneIn(4) {
            return attach(stored, key, life)
        }
        let (operation, principal) = command(world, key)
        if let puts = life.puts, case .write(.attachEvidence(let matter, _), _) = operation {
            // Referred to once it is in the vault, if then.
            let size = lots.pick([0, 1, 1_000, 65_536, 70_000])
            puts.begin(
                Put(
                    bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ size) },
                    matter: matter, principal: principal,
                    givesUpAt: lots.oneIn(6) ? lots.below(size + 1) : nil))
            return (request(.status, by: .intake), .read(recorded: false))
        }
        return (
            request(operation, by: principal),
            .write(life.promises.asked(operation, principal, key))
        )
    }

    private mutating func repeated(
        _ life: Life
    ) -> (request: EngineRequest, asked: Asked)? {
        guard !life.promises.writes.isEmpty else { return nil }
        let write = lots.pick(life.promises.writes.suffix(lots.pick([5, 1_000_000])))
        return again(write, life)
    }

    /// A repeat of a request, as the services make one of it.
    mutating func again(_ write: Write, _ life: Life) -> (request: EngineRequest, asked: Asked) {
        guard life.puts != nil,
            case .write(.attachEvidence(let matter, let attachment), let key) = write.operation
        else { return (request(write.operation, by: write.principal), .write(write)) }
        let operation = EngineOperation.checkAttachment(
            matter, size: attachment.size, key, clearedForChildSafety: true)
        return (request(operation, by: write.principal), .attachAgain(write))
    }

    /// Refers to an object that is in the vault, for the first time or again.
    mutating func attach(
        _ stored: Stored, _ key: WriteKey, _ life: Life
    ) -> (request: EngineRequest, asked: Asked) {
        let repeated = stored.repeated
        let operation = EngineOperation.write(
            .attachEvidence(case: stored.matter, attachment: stored.object), repeated?.key ?? key)
        let write = repeated ?? life.promises.asked(operation, stored.principal, key)
        return (request(operation, by: stored.principal), .write(write))
    }

    private mutating func reuse(
        _ world: borrowing World, _ life: Life
    ) -> (request: EngineRequest, asked: Asked)? {
        guard !life.promises.writes.isEmpty else { return nil }
        // Of erasures some write nothing and take no id, which is to be told apart.
        let erasures = life.promises.writes.filter(\.isErasure)
        let write = lots.pick(
            erasures.isEmpty || lots.oneIn(2) ? life.promises.writes : erasures)
        var key = write.key
        key.fingerprint.high = 2
        let (operation, _) = command(world, key)
        // Of an object that is not in the vault.
        if case .write(.attachEvidence, _) = operation { return nil }
        return (request(operation, by: write.principal), .reuse(write))
    }

    private mutating func renewKey(_ life: Life) -> (request: EngineRequest, asked: Asked) {
        let key = freshKey()
        let operation = EngineOperation.renewKey(lots.pick(KeyPurpose.allCases), key)
        let principal = Principal(dnsName: "operator")
        return (
            request(operation, by: principal),
            .write(life.promises.asked(operation, principal, key))
        )
    }

    mutating func snapshot(_ life: Life) -> (request: EngineRequest, asked: Asked) {
        let key = freshKey()
        let operation = EngineOperation.snapshot(key)
        let principal = Principal(dnsName: "operator")
        return (
            request(operation, by: principal),
            .write(life.promises.asked(operation, principal, key))
        )
    }

    private mutating func read(
        _ world: borrowing World
    ) -> (request: EngineRequest, asked: Asked) {
        let state = world.snapshotState
        let purpose = lots.oneIn(2) ? "looking" : nil
        switch lots.below(4) {
        case 0:
            let number = CaseNumber(UInt64(lots.below(state.cases.count + 2)))
            return (
                request(
                    .readCase(number, purpose: purpose, clearedForChildSafety: lots.oneIn(2)),
                    by: commands.pick(commands.specialists)), .read(recorded: purpose != nil)
            )
        case 1 where state.disclosures.count > 0:
            let id = state.disclosures[lots.below(state.disclosures.count)].id
            return (
                request(
                    .readDisclosure(id, requester: nil, purpose: purpose),
                    by: commands.pick(commands.legal)), .read(recorded: purpose != nil)
            )
        case 2:
            return (
                request(
                    .listDisclosures(after: nil, limit: 20, states: [], requester: nil),
                    by: .intake), .read(recorded: false)
            )
        default:
            return (
                request(.listCases(after: nil, limit: 50, filter: filter()), by: .intake),
                .read(recorded: false)
            )
        }
    }

    private mutating func filter() -> BoardFilter {
        var filter = BoardFilter()
        if lots.oneIn(3) { filter.states = 1 << CaseState.queued.rawValue }
        return filter
    }

    private mutating func watch(
        _ world: borrowing World, _ life: Life
    ) -> (request: EngineRequest, asked: Asked) {
        if let lost = life.takeLost() { return resumed(lost) }
        let state = world.snapshotState
        switch lots.below(4) {
        case 0:
            let principal = commands.pick(commands.specialists)
            let request = request(.watchAssignments(resume: 0), by: principal)
            let mirror = WatchMirror(
                call: request.call, kind: .assignments, principal: principal, filter: BoardFilter())
            return (request, .watch(mirror, recorded: false))
        case 1 where state.disclosures.count > 0:
            let id = state.disclosures[lots.below(state.disclosures.count)].id
            let principal = commands.pick(commands.legal)
            let request = request(.watchDisclosure(id, requester: nil), by: principal)
            let mirror = WatchMirror(
                call: request.call, kind: .disclosure, principal: principal, filter: BoardFilter())
            return (request, .watch(mirror, recorded: true))
        default:
            let filter = filter()
            let request = request(.watchBoard(resume: 0, filter: filter), by: .intake)
            let mirror = WatchMirror(
                call: request.call, kind: .board, principal: .intake, filter: filter)
            return (request, .watch(mirror, recorded: false))
        }
    }

    /// Goes on with a watch that was ended.
    mutating func resumed(_ lost: WatchMirror) -> (request: EngineRequest, asked: Asked) {
        let operation: EngineOperation =
            lost.kind == .board
            ? .watchBoard(resume: lost.revision, filter: lost.filter)
            : .watchAssignments(resume: lost.revision)
        let request = request(operation, by: lost.principal)
        let mirror = WatchMirror(
            call: request.call, kind: lost.kind, principal: lost.principal, filter: lost.filter,
            resuming: lost.revision == 0 ? nil : lost)
        return (request, .watch(mirror, recorded: false))
    }

    private mutating func cancel(_ life: Life) -> (request: EngineRequest, asked: Asked)? {
        let open = life.cancellable
        guard !open.isEmpty else { return nil }
        let chosen = lots.pick(open)
        return (request(.cancel, by: .intake, call: chosen.call), .probe)
    }
}
