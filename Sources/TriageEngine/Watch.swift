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
    /// The group that it goes with; how far it is stands there then.
    var group: WatchGroup?
    /// Left its group, and there was no room for what it would have to remember alone.
    var isOverShare = false

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

    /// A watch of nobody's, for what a group has in common.
    init(like member: Watch, _ subject: BoardWatch, credits: Int) {
        call = 0
        echo = 0
        reactor = member.reactor
        principal = .system
        self.subject = .board(subject)
        self.credits = credits
        position = member.position
        revision = member.revision
        owesBookmark = false
        sentPosition = member.sentPosition
    }
}

/// What a board watch remembers: a bit a case, whatever happens while it catches up.
///
/// ```
///   pages of the board --> changes from the ring --> caught up: bookmark, then further changes
///            |                   |         ^
///            +---- ring overran -+--> sweep: cases changed since the base
/// ```
///
/// Once it has caught up it goes with its ``WatchGroup``.
///
/// A class, because ``known`` has a bit for each case: it is changed where it is, never copied.
final class BoardWatch {
    let filter: BoardFilter
    /// The caller came with a revision: it may have any case that there was.
    let isResumed: Bool
    /// What is being sent before the changes of the ring; nil once all of it has been.
    var initial: InitialState?
    /// Cases that the caller has, or may have: only these are sent as removed.
    var known: NumberSet
    /// Every case was sent as it was at this revision or later, or will be by `initial`.
    var base: UInt64

    /// How far it is.
    enum InitialState {
        /// Open cases, in board order.
        case page(after: PriorityKey?)
        /// Cases that changed after a revision, by number.
        case sweep(since: UInt64, next: CaseNumber?)
    }

    init(
        filter: BoardFilter, isResumed: Bool, initial: InitialState?, known: NumberSet,
        base: UInt64
    ) {
        self.filter = filter
        self.isResumed = isResumed
        self.initial = initial
        self.known = known
        self.base = base
    }
}
