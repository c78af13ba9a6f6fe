// What the engine keeps for the board watches of one identity: a bit a case for each that goes
// alone and for each group. Booked before it is held, so that nobody grows the process by opening
// what nobody reads.

internal import TriageBase
internal import TriageDomain

extension WatchTable {
    /// Whether an identity may open another watch of the board: its first one always.
    func hasRoom(for principal: Principal, _ world: borrowing World) -> Bool {
        boardWatches[principal] == nil
            || bytesHeld(by: principal, world) + Self.bytesEach(world)
                <= configuration.watchBytesPerIdentityMax
    }

    /// What the board watches of an identity hold at most, with the cases that there are.
    ///
    /// - Complexity: O(its watches)
    func bytesHeld(by principal: Principal, _ world: borrowing World) -> Int {
        var groups: Set<Int> = []
        var alone = 0
        for watch in boardWatches[principal, default: [:]].values {
            if let group = watch.group { groups.insert(group.number) } else { alone += 1 }
        }
        return (alone + groups.count) * Self.bytesEach(world)
    }

    private static func bytesEach(_ world: borrowing World) -> Int {
        NumberSet.bytesMax(upTo: world.counts.cases)
    }
}
