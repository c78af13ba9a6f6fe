// Short numbers for principals. The names themselves are part of the state; this finds them.

internal import TriageBase

/// Finds a principal's number.
struct PrincipalTable: Sendable {
    private var index = HashIndex(segmentBits: 0)
    /// The one looked up last: calls of one connection come in runs.
    private var recent: (name: Principal, number: PrincipalIndex)?

    private static func hash(_ principal: Principal) -> UInt64 {
        Hash128(of: principal.text.utf8.span, seed: 0x7072_696E_6369_7061).high
    }

    /// The number of a principal; `.none` when the World has not seen it.
    func number(
        _ principal: Principal, in names: ChunkedArray<Principal>
    ) -> PrincipalIndex {
        if let recent, recent.name == principal { return recent.number }
        let found = index.first(Self.hash(principal)) { place in names[Int(place)] == principal }
        return PrincipalIndex(UInt32(found ?? 0))
    }

    /// The number of a principal, giving it one if it has none.
    mutating func intern(
        _ principal: Principal, in names: inout ChunkedArray<Principal>
    ) -> PrincipalIndex {
        var number = number(principal, in: names)
        if number == .none {
            number = PrincipalIndex(UInt32(names.endIndex))
            index.insert(Self.hash(principal), value: UInt64(names.endIndex))
            names.append(principal)
        }
        if recent?.number != number { recent = (principal, number) }
        return number
    }

    /// Enters all names after recovery.
    mutating func load(_ names: ChunkedArray<Principal>) {
        for place in names.indices { index.insert(Self.hash(names[place]), value: UInt64(place)) }
    }
}
