// What a session tells its owner. Trivial values: nothing here owns memory. Knows nothing of what a
// header or a body means.

/// One thing that happened, in the order in which it happened.
///
/// Events gather in ``HTTP2Session/events`` during `receive` and `drain`; the owner handles all of
/// them and calls `clearEvents()` before the next `receive`.
package enum HTTP2Event: Equatable, Sendable {
    /// A request began (server), or its final response headers came (client).
    case headers(HTTP2Stream, HeaderBlock)
    /// A 1xx response came (client).
    case informational(HTTP2Stream, HeaderBlock)
    /// Trailers came; `endStream` follows.
    case trailers(HTTP2Stream, HeaderBlock)
    /// Body bytes came: `count` bytes at `offset` of the bytes given to `receive`.
    ///
    /// They count against the windows until ``HTTP2Session/consume(_:_:)`` says that they are used;
    /// padding is accounted for already.
    case data(HTTP2Stream, offset: Int, count: Int)
    /// The peer has sent everything on this stream.
    case endStream(HTTP2Stream)
    /// The stream is over; its handle is stale after this turn. Nothing further comes for it.
    case streamClosed(HTTP2Stream, HTTP2ErrorCode)
    /// The stream's queue was above the high-water mark and fell to the low-water mark.
    case outputDrained(HTTP2Stream)
    /// The peer opens or accepts no stream above `lastStream`.
    case goAwayReceived(lastStream: Int32, HTTP2ErrorCode)
    /// The peer answered a ping; the opaque value is the ping's.
    case pingAcknowledged(UInt64)
    /// The peer's SETTINGS came (the acknowledgement is queued already).
    case settingsReceived
    /// The peer acknowledged our SETTINGS.
    case settingsAcknowledged
}
