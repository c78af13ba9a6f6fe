// Claims that wait for a case: first come, first served among those who may take it. Knows when a
// case may have become claimable; what may be claimed is the World's to decide.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain

/// A claim that found nothing and waits.
struct WaitingClaim: Asked {
    let call: UInt64
    let echo: UInt64
    let reactor: Int
    let principal: Principal
    let eligibility: Eligibility
    let key: WriteKey
    let deadline: MonotonicTime
}

/// The waiting claims, in the order in which they came.
///
/// One that is over stays in the list until half of that is over, or it is gone through: thousands
/// that leave at once, with their client's connections, must not move the others so many times.
struct ClaimQueue {
    /// Also those that are over.
    private var listed: [WaitingClaim] = []
    /// Those that wait.
    private var calls: Set<UInt64> = []
    /// Cases that changed since the queue was last looked at; only kept while somebody waits.
    private(set) var changed: [CaseNumber] = []

    /// How many wait.
    var count: Int { calls.count }

    /// When the first one gives up, or one would have that is over.
    var nextDeadline: MonotonicTime? { listed.lazy.map(\.deadline).min() }

    mutating func append(_ claim: WaitingClaim) {
        listed.append(claim)
        calls.insert(claim.call)
    }

    /// Notes that a case changed, so that it may be claimable now.
    @inline(__always)
    mutating func queued(_ number: CaseNumber) {
        if !calls.isEmpty { changed.append(number) }
    }

    mutating func remove(_ call: UInt64) {
        guard calls.remove(call) != nil else { return }
        if calls.count <= listed.count / 2 { _ = waiting() }
    }

    /// Those that wait.
    mutating func waiting() -> [WaitingClaim] {
        if calls.count < listed.count { listed.removeAll { !calls.contains($0.call) } }
        return listed
    }

    mutating func removeAll() -> [WaitingClaim] {
        defer {
            keep([])
            changed = []
        }
        return waiting()
    }

    /// Hands out what changed, once.
    mutating func takeChanged() -> [CaseNumber] {
        defer { changed = [] }
        return changed
    }

    /// Replaces the queue by those who still wait.
    mutating func keep(_ claims: [WaitingClaim]) {
        if claims.count != calls.count { calls = Set(claims.lazy.map(\.call)) }
        listed = claims
    }
}

extension EngineCore {
    /// Claims, or waits for something to claim.
    func claim(
        _ request: EngineRequest, _ eligibility: Eligibility, _ key: WriteKey, _ wait: Int64,
        _ reactor: Int
    ) -> EngineReply? {
        // Who waits was here first, also for what this turn has brought.
        if !claims.changed.isEmpty { offerToWaiting() }
        let reply = write(.claimNext(eligibility: eligibility), key, request.principal)
        guard case .outcome(.nothingToClaim) = reply, wait > 0 else { return reply }
        let milliseconds = UInt64(min(wait, Limits.claimWaitMillisecondsMax))
        claims.append(
            WaitingClaim(
                call: request.call, echo: request.echo, reactor: reactor,
                principal: request.principal, eligibility: eligibility, key: key,
                deadline: monotonic.advanced(byNanoseconds: milliseconds * 1_000_000)))
        return nil
    }

    /// The lane of a case that waits for a specialist; nil for one that does not.
    private func claimableLane(_ number: CaseNumber) -> Lane? {
        guard let value = try? world.view(of: number, full: false).value, value.state == .queued
        else { return nil }
        return value.lane
    }

    /// Offers what became claimable to those who wait for it, and lets go those whose time is up.
    func offerToWaiting() {
        guard claims.count > 0 else { return }
        var lanes: Set<Lane> = []
        for number in claims.takeChanged() {
            if let lane = claimableLane(number) { lanes.insert(lane) }
        }
        let expired = claims.nextDeadline.map { $0 <= monotonic } ?? false
        if lanes.isEmpty && !expired { return }
        var kept: [WaitingClaim] = []
        for waiting in claims.waiting() {
            if lanes.contains(where: waiting.eligibility.covers) {
                let reply = write(
                    .claimNext(eligibility: waiting.eligibility), waiting.key, waiting.principal)
                if case .outcome(.nothingToClaim) = reply {
                } else {
                    hold(waiting, reply, waiting.reactor)
                    continue
                }
            }
            if waiting.deadline <= monotonic {
                hold(waiting, .outcome(.nothingToClaim), waiting.reactor)
            } else {
                kept.append(waiting)
            }
        }
        // A journal that failed meanwhile has answered and removed all of them.
        if failure == nil { claims.keep(kept) }
    }
}
