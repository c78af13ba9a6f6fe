// The call machine takes every input in every state, and says the right thing in those that matter.

import Testing
import TriageGRPC

/// A machine that may be driven inside `#expect`, which takes no mutating calls.
private final class Driver {
    private var machine: CallStateMachine

    init(_ machine: CallStateMachine) { self.machine = machine }

    var isOpen: Bool { machine.isOpen }
    func messageReceived() -> CallStateMachine.MessageAction { machine.messageReceived() }
    func inputEnded(atBoundary: Bool) -> CallStateMachine.EndAction {
        machine.inputEnded(atBoundary: atBoundary)
    }
    func messageSent() -> CallStateMachine.SendAction { machine.messageSent() }
    func finished(ok: Bool) -> CallStateMachine.FinishAction { machine.finished(ok: ok) }
    func streamClosed() -> Bool { machine.streamClosed() }
}

@Suite struct CallStateMachineTests {
    private func make(client: Bool = false, server: Bool = false) -> Driver {
        Driver(CallStateMachine(clientStreaming: client, serverStreaming: server))
    }

    @Test func unary_happyPath() {
        let machine = make()
        #expect(machine.messageReceived() == .hold)
        #expect(machine.inputEnded(atBoundary: true) == .deliverRequest)
        #expect(machine.messageSent() == .headersAndMessage)
        #expect(machine.finished(ok: true) == .trailers)
        #expect(!machine.isOpen)
    }

    @Test func unary_withNoMessage_isRefused() {
        let machine = make()
        #expect(machine.inputEnded(atBoundary: true) == .refuseCardinality)
    }

    @Test func unary_withTwoMessages_isRefused() {
        let machine = make()
        #expect(machine.messageReceived() == .hold)
        #expect(machine.messageReceived() == .refuse)
    }

    @Test func input_endingInsideAMessage_isRefused() {
        for client in [false, true] {
            let machine = make(client: client)
            #expect(machine.inputEnded(atBoundary: false) == .refuseTruncated)
        }
    }

    @Test func clientStream_deliversEachAndThenTheEnd() {
        let machine = make(client: true)
        #expect(machine.messageReceived() == .deliver)
        #expect(machine.messageReceived() == .deliver)
        #expect(machine.inputEnded(atBoundary: true) == .endStream)
        #expect(machine.inputEnded(atBoundary: true) == .ignore)
    }

    @Test func serverStream_sendsHeadersOnce() {
        let machine = make(server: true)
        #expect(machine.messageSent() == .headersAndMessage)
        #expect(machine.messageSent() == .message)
        #expect(machine.finished(ok: true) == .trailers)
        #expect(machine.messageSent() == .drop)
        #expect(machine.finished(ok: true) == .drop)
    }

    @Test func serverStream_withoutMessages_endsWithHeadersAndTrailers() {
        let machine = make(server: true)
        #expect(machine.finished(ok: true) == .headersAndTrailers)
    }

    @Test func error_beforeAnyMessage_isTrailersOnly() {
        let machine = make()
        #expect(machine.finished(ok: false) == .trailersOnly)
    }

    @Test func handlerThatOwesAMessage_isRefused() {
        let machine = make()
        #expect(machine.finished(ok: true) == .refuse)
    }

    @Test func secondReplyOfAUnaryCall_isRefused() {
        let machine = make()
        #expect(machine.messageSent() == .headersAndMessage)
        #expect(machine.messageSent() == .refuse)
    }

    @Test func close_tellsOnlyWhoWasOpen() {
        let machine = make()
        #expect(machine.streamClosed())
        #expect(!machine.streamClosed())
        #expect(machine.messageReceived() == .ignore)
        #expect(machine.inputEnded(atBoundary: true) == .ignore)
    }

    /// Every sequence of six inputs, in all four shapes: after the end nothing is sent or
    /// delivered.
    @Test func everySequence_isSilentAfterTheEnd() {
        for shape in 0..<4 {
            for sequence in 0..<(6 * 6 * 6 * 6 * 6 * 6) {
                let machine = make(client: shape & 1 == 1, server: shape & 2 == 2)
                var rest = sequence
                for _ in 0..<6 {
                    let wasOpen = machine.isOpen
                    let input = rest % 6
                    rest /= 6
                    switch input {
                    case 0:
                        let action = machine.messageReceived()
                        if !wasOpen { #expect(action == .ignore) }
                    case 1, 2:
                        let action = machine.inputEnded(atBoundary: input == 1)
                        if !wasOpen { #expect(action == .ignore) }
                    case 3:
                        let action = machine.messageSent()
                        if !wasOpen { #expect(action == .drop) }
                    case 4:
                        let action = machine.finished(ok: rest % 2 == 0)
                        if !wasOpen { #expect(action == .drop) }
                        #expect(!machine.isOpen)
                    default:
                        #expect(machine.streamClosed() == wasOpen)
                    }
                }
            }
        }
    }
}
