// What stands where words were that had to be forgotten.

package import TriageBase

/// What stands for words that were erased from the record that brought them.
package enum Erased {
    /// A text that was erased: people see that there was one, which an empty text would hide.
    package static let text = "[erased]"
    /// A report's content of which the words were erased.
    ///
    /// As the codec packs it: a `ReportContent` with `erased` alone (`report_content.proto`). It
    /// never changes, because journals do not hold it.
    package static let content: [UInt8] = [15 << 3, 1]
}

/// What words are of: a report's content, or the caption of evidence.
package enum WordsOwner: Hashable, Sendable {
    case report(ReportNumber)
    case evidence(EvidenceNumber)
}

/// Words that were erased.
package struct ErasedWords: Hashable, Sendable {
    /// Whose.
    package let owner: WordsOwner
    /// The time of the record that brought them.
    package let recordedAt: WallTime
}
