// What a state that is rebuilt has done ahead of a record's turn, on another thread: decoding it.

internal import TriageBase

/// Decodes records in their order within one block or segment, without what comes before it.
///
/// - Isolation: one thread at a time.
package protocol RecordDecoder: RecordVisitor, SnapshotVisitor, SendableMetatype {
    /// What records are decoded to.
    associatedtype Records: Sendable

    /// Hands over what was decoded since the last time; one value a record, in order.
    mutating func take() -> Records
}

/// One of the records that a decoder handed over makes no sense to the state.
package struct RejectedRecord: Error, Equatable, Sendable {
    /// Its place among them, from 0.
    package var index: Int
    /// What is wrong with it, for an operator.
    package var what: String

    /// Says what is wrong with a record.
    package init(_ what: String, at index: Int) {
        self.index = index
        self.what = what
    }
}

/// Decodes nothing.
struct NoDecoder: RecordDecoder {
    mutating func journalRecord(sequence: UInt64, time: WallTime, _ record: RecordView) {}
    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) {}
    mutating func take() {}
}
