// Indexes that a replay does not keep up, made of the last state at its end. The work is cut into
// pieces that do not depend on each other, so that whoever has processors can run them beside each
// other; knows nothing of threads.

internal import TriageBase

/// Runs pieces of work that do not depend on each other, in any order or beside each other, and
/// returns when all are done.
package typealias Concurrently = (_ pieces: [@Sendable () -> Void]) -> Void

/// What the indexes need of some cases that follow each other.
///
/// `@unchecked Sendable`: filled by one piece of work, read by those that are run after it.
private final class IndexedCases: @unchecked Sendable {
    /// The open cases, in the order of their keys.
    var entries: [PriorityIndex.Entry] = []
    var subjects: ContiguousArray<HashIndex.Slot> = []
    /// Numbers of the queued cases, by level, oldest first.
    var queued = [[UInt64]](repeating: [], count: Level.allCases.count)
    /// Open cases, by level.
    var openCounts = [Int](repeating: 0, count: Level.allCases.count)
    var timers: [Timer] = []
    /// The entries as they come, by level: within one they come nearly in the order of their keys.
    private var byLevel = [[PriorityIndex.Entry]](repeating: [], count: Level.allCases.count)

    /// Walks some cases, a million of which fill no cache: once for everything.
    func fill(of cases: ChunkedArray<Case>, _ range: Range<Int>) {
        subjects.reserveCapacity(range.count)
        cases.forEachChunk(in: range) { chunk, offsets in add(chunk, offsets) }
        entries = Array(byLevel.joined())
        byLevel = []
        entries.sort { $0.key < $1.key }
    }

    private func add(_ chunk: ContiguousArray<Case>, _ offsets: Range<Int>) {
        let cases = chunk.span
        for offset in offsets { add(CasePlace(cases, offset)) }
    }

    @inline(__always)
    private func add(_ place: CasePlace) {
        guard place.isOpen else { return }
        let row = Int(place.level.rawValue)
        byLevel[row].append((place.key, place.standing))
        subjects.append(
            HashIndex.Slot(hash: WorldIndexes.hash(place.subject), value: place.number.value))
        openCounts[row] += 1
        if place.isQueued { queued[row].append(place.number.value) }
        guard place.awaitsLegalClock else { return }
        timers.append(Timer(.legalClock(place.number.value), at: place.legalDeadline))
    }
}

/// What pieces of work have made.
///
/// `@unchecked Sendable`: each piece has fields of its own, and who reads them waited for it.
private final class MadeIndexes: @unchecked Sendable {
    var ledger = RequestLedger()
    var subjects = HashIndex()
    var priority = PriorityIndex()
    var oldestQueued = [LazyHeap<UInt64>](repeating: LazyHeap(), count: Level.allCases.count)
    var timers = LazyHeap<Timer>()
}

extension WorldIndexes {
    /// Stops keeping up what no event asks for.
    mutating func beginReplay() {
        isDeferred = true
        ledger.isDeferred = true
    }

    /// Makes it of the state, and keeps it up from now on.
    mutating func finishReplay(_ state: WorldState, casesPerPart: Int, _ run: Concurrently) {
        invariant(isDeferred, "a replay ends once")
        isDeferred = false
        let made = MadeIndexes()
        let cases = state.cases
        let starts = stride(from: cases.startIndex, to: cases.endIndex, by: casesPerPart)
        let ranges = starts.map { $0..<min($0 + casesPerPart, cases.endIndex) }
        let parts = ranges.map { _ in IndexedCases() }
        // The longest one first.
        var pieces: [@Sendable () -> Void] = [{ made.ledger.load(state.ledger) }]
        for (part, range) in zip(parts, ranges) { pieces.append { part.fill(of: cases, range) } }
        run(pieces)
        var ends: [Timer] = []
        for assignment in state.assignments where assignment.state.holdsCase {
            enterHeld(assignment)
            ends.append(Timer(.assignment(assignment.number.value), at: assignment.expiresAt))
        }
        let others = ends + Self.otherTimers(state)
        run([
            { made.priority.load(parts.map(\.entries)) },
            { made.subjects.load(parts.map(\.subjects)) },
            {
                made.timers.load(others + parts.flatMap(\.timers))
                for row in made.oldestQueued.indices {
                    made.oldestQueued[row].load(parts.flatMap { $0.queued[row] })
                }
            },
        ])
        take(made)
        for part in parts {
            for row in openCounts.indices {
                openCounts[row] += part.openCounts[row]
                queuedCounts[row] += part.queued[row].count
            }
        }
    }

    private mutating func take(_ made: MadeIndexes) {
        swap(&priority, &made.priority)
        swap(&subjects, &made.subjects)
        swap(&ledger, &made.ledger)
        swap(&oldestQueued, &made.oldestQueued)
        swap(&timers, &made.timers)
    }

    /// The timers of disclosure requests and of holds.
    private static func otherTimers(_ state: WorldState) -> [Timer] {
        var all: [Timer] = []
        for place in state.disclosures.indices {
            guard let hold = state.disclosures[place].preservation, hold.state == .active else {
                continue
            }
            all.append(Timer(.preservation(UInt64(place)), at: hold.expiresAt))
        }
        for hold in state.holds where hold.state == .active {
            all.append(Timer(.hold(hold.number.value), at: hold.order.expiresAt))
        }
        return all
    }
}
