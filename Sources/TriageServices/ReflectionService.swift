// Server reflection, v1 and v1alpha: one stream of questions, answered in turn from the descriptor
// set that is built in. Their messages are the same on the wire.

internal import TriageBase
internal import TriageCodec
internal import TriageGRPC

extension ServiceHandler {
    func questionReceived(_ call: CallID, _ message: Span<UInt8>) {
        guard case .reflection(let holder, paused: _) = longCalls[call.raw] else { return }
        let question: ReflectionRequest
        do { question = try decoder.decodeReflection(message) } catch {
            longCalls[call.raw] = nil
            responder.finish(call, RPCError(error))
            return
        }
        switch responder.send(call, encoder.reflection(question, shared.descriptors)) {
        case .queued: responder.requestMore(call)
        case .full: longCalls[call.raw] = .reflection(holder, paused: true)
        case .gone: longCalls[call.raw] = nil
        }
    }
}
