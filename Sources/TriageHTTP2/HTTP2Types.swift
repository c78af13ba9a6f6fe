// The vocabulary of a session: role, settings, stream handles, error codes, counters. Values only;
// knows nothing of nghttp2.

internal import TriageBase

/// Which side of the connection a session is.
package enum HTTP2Role: Sendable {
    case server
    case client
}

/// What a session announces and enforces.
package struct HTTP2Settings: Sendable {
    /// SETTINGS_MAX_CONCURRENT_STREAMS that the peer is held to.
    package var concurrentStreamsMax: Int
    /// SETTINGS_INITIAL_WINDOW_SIZE, bytes a stream.
    package var streamWindowBytes: Int
    /// Receive window of the whole connection, bytes.
    package var connectionWindowBytes: Int
    /// SETTINGS_MAX_HEADER_LIST_SIZE, announced and enforced: decoded bytes, 32 added a field.
    package var headerListBytesMax: Int
    /// Fields in one header block.
    package var headerFieldsMax: Int
    /// `outputDrained` is announced when a stream's queue falls to this many bytes.
    package var lowWaterBytes: Int
    /// Only a queue that had more than this many bytes is announced when it drains.
    package var highWaterBytes: Int

    /// Header blocks that come again are told by number (server), see ``HeaderBlock/known``.
    package var knowsBlocks = false

    /// The server's settings, from ``TriageBase/Limits``; a client uses the same.
    package init() {
        concurrentStreamsMax = Limits.concurrentStreamsMax
        streamWindowBytes = Limits.streamWindowBytes
        connectionWindowBytes = Limits.connectionWindowBytes
        headerListBytesMax = Limits.headerListBytesMax
        headerFieldsMax = Limits.headerFieldsMax
        lowWaterBytes = 16 << 10
        highWaterBytes = 64 << 10
    }
}

/// Names one stream of one session; stale once the stream has closed and its event was cleared.
///
/// Stream ids are never reused on a connection, so the id is also the generation of the slot: an
/// operation on a stale handle does nothing.
package struct HTTP2Stream: Hashable, Sendable {
    /// The stream identifier on the wire.
    package let id: Int32
    /// The session's slot for it.
    package let slot: Int32

    init(id: Int32, slot: Int32) {
        self.id = id
        self.slot = slot
    }
}

/// An HTTP/2 error code.
///
/// Open: a peer may send any number. Source: RFC 9113 §7.
package struct HTTP2ErrorCode: Hashable, Sendable, RawRepresentable {
    /// The code on the wire.
    package let rawValue: UInt32

    /// Wraps any code.
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let noError = HTTP2ErrorCode(rawValue: 0x0)
    package static let protocolError = HTTP2ErrorCode(rawValue: 0x1)
    package static let internalError = HTTP2ErrorCode(rawValue: 0x2)
    package static let flowControlError = HTTP2ErrorCode(rawValue: 0x3)
    package static let settingsTimeout = HTTP2ErrorCode(rawValue: 0x4)
    package static let streamClosed = HTTP2ErrorCode(rawValue: 0x5)
    package static let frameSizeError = HTTP2ErrorCode(rawValue: 0x6)
    package static let refusedStream = HTTP2ErrorCode(rawValue: 0x7)
    package static let cancel = HTTP2ErrorCode(rawValue: 0x8)
    package static let compressionError = HTTP2ErrorCode(rawValue: 0x9)
    package static let enhanceYourCalm = HTTP2ErrorCode(rawValue: 0xB)
    package static let inadequateSecurity = HTTP2ErrorCode(rawValue: 0xC)
}

/// Why a session cannot go on.
///
/// Nothing can be sent after it: close the transport.
/// Errors for which the protocol wants a GOAWAY are not thrown: the GOAWAY is queued and
/// ``HTTP2Session/wantsRead`` turns false.
package enum HTTP2Error: Error, Equatable, Sendable {
    /// The peer does not speak HTTP/2: its first bytes are not the client preface.
    case badPreface
    /// The peer makes us queue answers (PING or SETTINGS acknowledgements) that it does not read.
    case flooded
    /// A header block in more CONTINUATION frames than ``TriageBase/Limits/continuationsMax``.
    case continuationFlood
    /// Memory ran out.
    case outOfMemory
    /// The library refused a call in a way that its manual does not list; the code is nghttp2's.
    case library(Int32)
}

/// What a peer has done so far; totals since the session began, unless a name says otherwise.
///
/// The session has no clock: whoever has one compares these with the limits of the design
/// ("Attacks") and ends the session.
package struct HTTP2Counters: Sendable {
    /// Frames received, of every type that HTTP/2 itself defines; others are skipped unseen.
    package var frames = 0
    /// HEADERS frames received.
    package var headers = 0
    /// CONTINUATION frames received.
    package var continuations = 0
    /// DATA frames received.
    package var dataFrames = 0
    /// DATA frames in a row that carried nothing (padding is nothing) and ended no stream.
    package var emptyDataFramesInARow = 0
    /// The longest such row so far.
    package var emptyDataFramesLongestRow = 0
    /// PRIORITY frames received.
    package var priorities = 0
    /// RST_STREAM frames received.
    package var resets = 0
    /// SETTINGS frames received, acknowledgements excluded.
    package var settings = 0
    /// Those with more entries than they may have (server).
    package var settingsEntriesExceeded = 0
    /// PING frames received, acknowledgements excluded.
    package var pings = 0
    /// WINDOW_UPDATE frames received.
    package var windowUpdates = 0
    /// RST_STREAM frames that the protocol, not our caller, made us send: what a peer provoked.
    package var resetsProvoked = 0
    /// Frames refused as invalid, whatever came of it.
    package var invalidFrames = 0
    /// Header blocks over the limit of size or count that came to their end.
    package var oversizeHeaders = 0
    /// Header blocks over the limit of size, those that ended the connection included.
    package var headerBytesExceeded = 0
    /// Header blocks over the limit of count, those that ended the connection included.
    package var headerFieldsExceeded = 0
    /// Requests above the limit of concurrent streams.
    package var streamsRefused = 0
    /// Grows with each of the last three, so that one comparison tells that none happened.
    package var excesses = 0
    /// Streams opened, by either side.
    package var streamsOpened = 0
    /// DATA frames sent.
    package var dataFramesSent = 0

    /// Nothing done yet.
    package init() {}
}
