// The journal of a server that keeps nothing: it counts records and calls them durable. What a call
// costs over it is what it costs without a disk.

internal import TriageBase
internal import TriageJournal

/// Acknowledges at once.
final class VolatileJournal: Journal {
    private var appended: UInt64 = 0
    private var committed: UInt64 = 0
    private(set) var pendingBytes = 0

    var nextSequence: UInt64 { appended + 1 }
    var durableHead: JournalHead { JournalHead(sequence: committed, chain: .zero) }

    func append(_ payload: Span<UInt8>, time: WallTime) throws(JournalError) -> UInt64 {
        appended += 1
        pendingBytes += payload.count
        return appended
    }

    func append(
        time: WallTime, reserving bytesMax: Int, _ body: (inout OutputSpan<UInt8>) -> Void
    ) throws(JournalError) -> UInt64 {
        let payload = [UInt8](capacity: bytesMax) { body(&$0) }
        return try append(payload.span, time: time)
    }

    func commit() throws(JournalError) {
        committed = appended
        pendingBytes = 0
    }
}
