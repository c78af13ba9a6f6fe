// One watch: what it asked for, how far it is, how much it may still send. Knows nothing of
// threads.

internal import TriageBase
internal import TriageDomain

/// A watch that is open.
final class Watch: Asked {
    /// What is watched, and how far the initial state has been sent.
    enum Subject {
        case board(BoardWatch)
        case assignments(started: Bool)
        case disclosure(DisclosureID, requester: Principal?, changed: Bool)
    }

    let call: UInt64
    let echo: UInt64
    let reactor: Int
    let principal: Principal
    var subject: Subject
    /// Parts that may be sent before the reactor gives more.
    var credits: Int
    /// Position in the ring of the first change that was not looked at.
    var position: Int
    /// What the caller knows; 0 until the initial state has been sent.
    var revision: UInt64
    /// False once the caller has had the bookmark that ends its initial state.
    var owesBookmark = true
    /// Where ``position`` was when something was sent last.
    var sentPosition: Int

    init(
        _ request: EngineRequest, reactor: Int, subject: Subject, credits: Int, position: Int,
        revision: UInt64
    ) {
        call = request.call
        echo = request.echo
        self.reactor = reactor
        principal = request.principal
        self.subject = subject
        self.credits = credits
        self.position = position
        self.revision = revision
        sentPosition = position
    }
}

/// What a board watch remembers.
struct BoardWatch {
    let filter: BoardFilter
    /// Where the next page of the initial state begins; nil once all of it has been sent.
    var initial: InitialState?
    /// Cases that the caller has, or may have: only these are sent as removed.
    var known: NumberSet

    /// How far the initial state has been sent.
    enum InitialState {
        case page(after: PriorityKey?)
    }
}
