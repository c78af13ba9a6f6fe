// Which part of the state a list or watch asks for: values that the codec makes from a request and
// the World answers. Knows nothing of page tokens or of who may see what.

package import TriageBase

/// Which cases a list or watch returns: a case matches when it matches every part; an empty part
/// matches all.
package struct BoardFilter: Hashable, Sendable {
    /// Bit `Level.rawValue` of every level wanted.
    package var levels: UInt8 = 0
    /// Bit `CaseState.rawValue` of every state wanted.
    package var states: UInt8 = 0
    /// Bit `HarmFamily.rawValue` of every kind wanted.
    package var families: UInt16 = 0
    /// Primary language subtags; few, so that a linear search is the fastest.
    package var languages: [LanguageCode] = []
    /// Jurisdictions.
    package var regions: [RegionCode] = []
    /// Who holds the case.
    package var assignees: [Principal] = []

    /// A filter that matches every case.
    package init() {}

    /// True when every case matches.
    package var matchesAll: Bool { self == BoardFilter() }
}

/// A place in the list of disclosure requests, newest first: the last one of the page before.
package struct DisclosureCursor: Hashable, Sendable {
    /// When that request was received.
    package var receivedAt: WallTime
    /// Which it was; decides among those of one millisecond.
    package var id: DisclosureID

    package init(receivedAt: WallTime, id: DisclosureID) {
        self.receivedAt = receivedAt
        self.id = id
    }
}
