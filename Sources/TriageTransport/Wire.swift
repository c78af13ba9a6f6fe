// TLS and HTTP/2 of one connection, joined into one byte machine of either role: ciphertext in,
// events out; frames in, ciphertext out. Knows no socket, no clock, no gRPC.

import TriageHTTP2
import TriageTLS

/// The two protocol layers of one connection.
///
/// - Isolation: confined to its loop's thread.
final class Wire {
    let tls: TLSSession
    let http2: HTTP2Session
    /// True until the TLS handshake is complete.
    private(set) var isHandshaking = true

    /// Most plaintext of one TLS record that is filled from whole frames; leaves room for the last
    /// one.
    private static let recordBytes = 16_384 - 1_500

    init(_ tls: TLSSession, _ http2: HTTP2Session) {
        self.tls = tls
        self.http2 = http2
    }

    /// What a step of the handshake came to.
    enum Handshake {
        case needsInput
        case complete
        case failed(TLSError)
    }

    /// Goes on with the handshake; output may have grown, also when it failed (the alert).
    func handshake() -> Handshake {
        do throws(TLSError) {
            switch try tls.handshake() {
            case .needsInput: return .needsInput
            case .complete:
                isHandshaking = false
                return .complete
            }
        } catch {
            return .failed(error)
        }
    }

    /// What one read came to.
    enum Read {
        /// So many plaintext bytes are in the buffer, and HTTP/2 has turned them into events.
        case events(Int)
        /// Nothing more until ciphertext arrives.
        case needsInput
        /// The peer has closed TLS.
        case closed
        /// The connection cannot go on; the text is public.
        case failed(String)
        /// As ``failed(_:)``: the peer broke a limit that a library counts for us.
        case overLimit(LimitKind, String)
    }

    /// Decrypts into `buffer` as much as fits and feeds it to HTTP/2.
    ///
    /// The events' DATA ranges refer to `buffer`.
    func read(into buffer: inout [UInt8]) -> Read {
        let count: Int
        do throws(TLSError) {
            switch try tls.read(into: &buffer) {
            case .bytes(let read): count = read
            case .needsInput: return .needsInput
            case .closed: return .closed
            }
        } catch .tooManyKeyUpdates {
            return .overLimit(.keyUpdates, TLSError.tooManyKeyUpdates.description)
        } catch {
            return .failed(error.description)
        }
        do throws(HTTP2Error) {
            try http2.receive(buffer.span.extracting(first: count))
            return .events(count)
        } catch {
            return switch error {
            case .flooded: .overLimit(.queuedAnswers, Self.text(error))
            case .continuationFlood: .overLimit(.continuations, Self.text(error))
            case .badPreface, .outOfMemory, .library: .failed(Self.text(error))
            }
        }
    }

    /// Frames and encrypts what may be sent, until `limit` bytes of ciphertext wait.
    ///
    /// - Parameters:
    ///   - staging: Empty; used for the plaintext of one record at a time, empty again afterwards.
    ///   - limit: Bytes of ciphertext.
    /// - Returns: nil, or why the connection cannot go on.
    func seal(_ staging: FrameBuffer, limit: Int) -> String? {
        guard !isHandshaking else { return nil }
        while tls.outputCount < limit {
            defer { staging.removeAll() }
            let more: Bool
            do throws(HTTP2Error) {
                more = try http2.drain(into: staging, atMost: Self.recordBytes)
            } catch {
                return Self.text(error)
            }
            if staging.isEmpty { return nil }
            do throws(TLSError) {
                try staging.withBytes { bytes throws(TLSError) in try tls.write(bytes) }
            } catch {
                return error.description
            }
            if !more { return nil }
        }
        return nil
    }

    private static func text(_ error: HTTP2Error) -> String {
        switch error {
        case .badPreface: "the peer does not speak HTTP/2"
        case .flooded: "the peer does not read the answers that it asks for"
        case .continuationFlood: "the peer sent a header block in too many frames"
        case .outOfMemory: "memory ran out"
        case .library(let code): "HTTP/2 failed with code \(code)"
        }
    }
}
