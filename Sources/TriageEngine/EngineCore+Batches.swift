// What one reactor asks in a turn, carried out in order, with an eye on what comes next: the
// processor fetches for some requests at once what each of them would wait for alone.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageJournal

extension EngineCore {
    /// Requests that are looked at together before the first of them is carried out: what that
    /// brings into the processor's nearest cache is a quarter of it.
    private static let expectedCount = 64

    /// Carries out a batch.
    func carryOut(_ batch: RequestBatch) {
        // Through a span, which lends: an array's elements are copied, with all that they hold.
        let requests = batch.requests.span
        for place in requests.indices {
            if place % Self.expectedCount == 0 {
                expect(requests.extracting(place...).extracting(first: Self.expectedCount))
            }
            handle(requests[place], batch.reactor)
        }
    }

    private func handle(_ request: EngineRequest, _ reactor: Int) {
        status.counters.requests += 1
        // The commit point: what gets past here is done, and stands, whatever becomes of its call.
        if request.deadline <= monotonic {
            status.counters.expired += 1
            return hold(request, .failed(.expired), reactor)
        }
        if let reply = answer(request, reactor) { hold(request, reply, reactor) }
        // A turn that has gathered much commits before it goes on, so that its first call does not
        // wait for its last one.
        if journal.pendingBytes >= configuration.turnBytesMax {
            commit()
            publish()
        }
    }

    /// Lets the World prepare for the reports among the next requests.
    private func expect(_ requests: Span<EngineRequest>) {
        for place in requests.indices {
            guard case .write(.submitReport(let facts, _), let key) = requests[place].operation
            else { continue }
            world.expect(requests[place].principal, key.requestID, about: facts.subject)
        }
    }
}
