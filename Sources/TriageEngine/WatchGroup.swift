// Board watches that have caught up and ask for the same go together: what an event means to them
// is looked up, handed over and encoded once, and a watch that only waits costs a number in a list.
// One that does not keep up is taken out, and goes alone until it has caught up again.
//
//     alone ──caught up, with credit──▶ in its group ──its stream is full──▶ alone, without credit

internal import TriageBase
internal import TriageDomain

/// Board watches of one reactor that stand at the same place.
final class WatchGroup {
    /// What the members have in common.
    struct Key: Hashable {
        let reactor: Int
        let filter: BoardFilter
        /// Those who came with a revision may have cases that others never had.
        let isResumed: Bool
    }

    let number: Int
    let key: Key
    /// How far all of them are, and how many parts may be on their way to the reactor.
    let lead: Watch
    /// What at least one of them has, or may have.
    let subject: BoardWatch
    /// In ascending order: a reactor gives neighbours to the streams of one connection.
    private(set) var calls: [UInt64] = []

    init(_ number: Int, _ key: Key, like member: Watch, credits: Int) {
        self.number = number
        self.key = key
        subject = BoardWatch(
            filter: key.filter, isResumed: key.isResumed, initial: nil, known: NumberSet(),
            base: member.revision)
        lead = Watch(like: member, subject, credits: credits)
    }

    /// Where a call is, or would be.
    private func place(of call: UInt64) -> Int {
        var low = 0
        var high = calls.count
        while low < high {
            let middle = (low + high) / 2
            if calls[middle] < call { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func add(_ call: UInt64) { calls.insert(call, at: place(of: call)) }

    func remove(_ call: UInt64) { calls.remove(at: place(of: call)) }
}

extension WatchTable {
    // MARK: Members

    /// Whether a watch that was just advanced has nothing more to get, and keeps up.
    func mayJoin(_ watch: Watch, _ subject: BoardWatch) -> Bool {
        subject.initial == nil && watch.position == board.end && !watch.owesBookmark
            && watch.credits > configuration.watchCredits / 2
    }

    /// Puts a watch into its group, if that stands where the watch does.
    mutating func join(_ watch: Watch) {
        guard case .board(let subject) = watch.subject else { return }
        let key = WatchGroup.Key(
            reactor: watch.reactor, filter: subject.filter, isResumed: subject.isResumed)
        let group: WatchGroup
        if let there = groupNumbers[key].flatMap({ groups[$0] }) {
            guard there.lead.position == watch.position else { return }
            group = there
        } else {
            group = WatchGroup(nextGroup, key, like: watch, credits: configuration.watchCredits)
            groups[nextGroup] = group
            groupNumbers[key] = nextGroup
            nextGroup += 1
        }
        group.subject.known.formUnion(subject.known)
        subject.known = NumberSet()
        group.lead.sentPosition = min(group.lead.sentPosition, watch.sentPosition)
        group.add(watch.call)
        watch.group = group
        alone[watch.call] = nil
    }

    /// Takes a watch out of its group; it knows what the group knows.
    mutating func leave(_ watch: Watch) {
        guard let group = watch.group, case .board(let subject) = watch.subject else { return }
        watch.group = nil
        watch.position = group.lead.position
        watch.sentPosition = group.lead.sentPosition
        watch.revision = group.lead.revision
        subject.known = group.subject.known
        subject.base = group.subject.base
        group.remove(watch.call)
        if group.calls.isEmpty {
            groups[group.number] = nil
            groupNumbers[group.key] = nil
        }
    }

    /// Sends a watch nothing until it has credit again; ends it with the next part if there is no
    /// room for what it would have to remember meanwhile.
    mutating func pause(_ call: UInt64, _ world: borrowing World) {
        guard let watch = watches[call] else { return }
        watch.credits = 0
        guard watch.group != nil else { return }
        leave(watch)
        alone[call] = watch
        watch.isOverShare =
            bytesHeld(by: watch.principal, world) > configuration.watchBytesPerIdentityMax
    }

    /// A reactor has taken a part of a group's.
    func taken(_ number: Int) {
        guard let group = groups[number] else { return }
        group.lead.credits = min(group.lead.credits + 1, configuration.watchCredits)
    }

    // MARK: Advancing

    /// Sends each group its next part, if there is one and it has credit.
    ///
    /// - Parameters:
    ///   - world: What there is.
    ///   - durable: The newest revision that may be shown.
    ///   - ended: Gets the calls of members that the ring has overtaken.
    ///   - send: Where parts go.
    /// - Returns: Whether there is more to send at once.
    mutating func advanceGroups(
        _ world: borrowing World, durable: UInt64, _ ended: inout [UInt64],
        _ send: (Watch, EngineReply) -> Void
    ) -> Bool {
        var more = false
        for group in groups.values {
            if group.lead.position < board.start {
                for call in group.calls {
                    guard let watch = watches[call] else { continue }
                    send(watch, .failed(.watchTooSlow(revision: group.lead.revision)))
                }
                ended += group.calls
            } else if group.lead.credits > 0 {
                let goesOn = advance(group.lead, group.subject, world, durable) { lead, reply in
                    guard case .boardChanges(let part) = reply else { return }
                    let shared = SharedBoardChanges(part, to: group.calls, group: group.number)
                    send(lead, .sharedBoardChanges(shared))
                }
                more = goesOn || more
            }
        }
        return more
    }
}
