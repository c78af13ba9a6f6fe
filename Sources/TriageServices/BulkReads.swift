// Reads of whole pages wait here for their turn: the engine has a few of them at a time and no
// more, so that a report never waits behind a hundred lists. Knows nothing of what they read.

internal import TriageBase
internal import TriageEngine

/// The bulk reads of one reactor, first come first served.
struct BulkReads {
    private var waiting: [EngineRequest] = []
    private var taken = 0
    private var inFlight = 0

    var isEmpty: Bool { waiting.isEmpty }

    mutating func add(_ request: EngineRequest) { waiting.append(request) }

    /// Appends what the engine may have now to a turn's requests, without calls that are gone.
    mutating func release(into requests: inout [EngineRequest], isWanted: (UInt64) -> Bool) {
        while inFlight < Limits.bulkReadsInFlightMax, taken < waiting.count {
            let request = waiting[taken]
            taken += 1
            guard isWanted(request.call) else { continue }
            requests.append(request)
            inFlight += 1
        }
        if taken == waiting.count || taken > 256 {
            waiting.removeFirst(taken)
            taken = 0
        }
    }

    /// The engine has answered one.
    mutating func completed() { inFlight -= 1 }
}
