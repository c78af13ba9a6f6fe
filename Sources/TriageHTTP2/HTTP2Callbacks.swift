// nghttp2's callbacks: thunks that find the session's state and translate. No thunk throws, locks,
// sends or receives. The table is made once a process and never freed.

internal import CNghttp2

/// The callback table and options that all sessions share.
@safe enum HTTP2Callbacks {
    /// The table, or nil when memory ran out at start.
    static let table = CallbackTable()

    /// A pointer that is written once, before any thread can read it.
    // @unchecked Sendable: immutable after init; nghttp2 copies the table into each session.
    @safe struct CallbackTable: @unchecked Sendable {
        let pointer: OpaquePointer?

        init() {
            var made: OpaquePointer?
            guard unsafe nghttp2_session_callbacks_new(&made) == 0, let made = unsafe made else {
                unsafe pointer = nil
                return
            }
            unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(made, onBeginFrame)
            unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(made, onBeginHeaders)
            unsafe nghttp2_session_callbacks_set_on_header_callback2(made, onHeader)
            unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(made, onInvalidHeader)
            unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, onData)
            unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(made, onFrame)
            unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
                made, onInvalidFrame)
            unsafe nghttp2_session_callbacks_set_on_frame_send_callback(made, onFrameSent)
            unsafe nghttp2_session_callbacks_set_on_frame_not_send_callback(made, onFrameNotSent)
            unsafe nghttp2_session_callbacks_set_on_stream_close_callback(made, onStreamClose)
            unsafe pointer = made
        }
    }
}

/// Runs `body` on the state behind a callback's user pointer.
@inline(__always)
private func with<R>(_ user: UnsafeMutableRawPointer?, _ body: (inout SessionState) -> R) -> R {
    guard let user = unsafe user else { fatalError("nghttp2 lost the session's context") }
    return unsafe body(&user.assumingMemoryBound(to: SessionState.self).pointee)
}

private func onBeginFrame(
    _ session: OpaquePointer?, _ header: UnsafePointer<nghttp2_frame_hd>?,
    _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let header = unsafe header else { return 0 }
    unsafe with(user) { unsafe $0.frameBegan(session, header.pointee) }
    return 0
}

private func onBeginHeaders(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let session = unsafe session, let frame = unsafe frame else { return 0 }
    unsafe with(user) { unsafe $0.headersBegan(session, frame.pointee) }
    return 0
}

private func onHeader(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ name: OpaquePointer?,
    _ value: OpaquePointer?, _ flags: UInt8, _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let name = unsafe name, let value = unsafe value else { return 0 }
    let goOn = unsafe with(user) {
        unsafe $0.fieldReceived(
            name, value, sensitive: flags & UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue) != 0)
    }
    if !goOn {
        // Queues GOAWAY and makes nghttp2 ignore what follows.
        let code = unsafe nghttp2_session_terminate_session(
            session, HTTP2ErrorCode.enhanceYourCalm.rawValue)
        unsafe with(user) { $0.note(code) }
    }
    return 0
}

private func onInvalidHeader(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ name: UnsafePointer<UInt8>?,
    _ nameCount: Int, _ value: UnsafePointer<UInt8>?, _ valueCount: Int, _ flags: UInt8,
    _ user: UnsafeMutableRawPointer?
) -> Int32 {
    // By default nghttp2 drops the field and goes on; a malformed request is refused (RFC 9113
    // §8.1.1).
    NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
}

private func onData(
    _ session: OpaquePointer?, _ flags: UInt8, _ id: Int32, _ data: UnsafePointer<UInt8>?,
    _ count: Int,
    _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let session = unsafe session, let data = unsafe data else { return 0 }
    unsafe with(user) { unsafe $0.dataReceived(session, id: id, data: data, count: count) }
    return 0
}

private func onFrame(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let session = unsafe session, let frame = unsafe frame else { return 0 }
    unsafe with(user) { unsafe $0.frameReceived(session, frame.pointee) }
    return 0
}

private func onInvalidFrame(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ code: Int32,
    _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let frame = unsafe frame else { return 0 }
    unsafe with(user) { unsafe $0.invalidFrameReceived(frame.pointee, code) }
    return 0
}

private func onFrameSent(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let session = unsafe session, let frame = unsafe frame else { return 0 }
    unsafe with(user) { unsafe $0.frameSent(session, frame.pointee) }
    return 0
}

private func onFrameNotSent(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ code: Int32,
    _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let frame = unsafe frame else { return 0 }
    unsafe with(user) { unsafe $0.frameNotSent(frame.pointee) }
    return 0
}

private func onStreamClose(
    _ session: OpaquePointer?, _ id: Int32, _ code: UInt32, _ user: UnsafeMutableRawPointer?
) -> Int32 {
    guard let session = unsafe session else { return 0 }
    unsafe with(user) { unsafe $0.streamClosed(session, id: id, code: code) }
    return 0
}

/// The data source of every stream; `source.ptr` is the slot's tag.
func onReadData(
    _ session: OpaquePointer?, _ id: Int32, _ buffer: UnsafeMutablePointer<UInt8>?, _ capacity: Int,
    _ flags: UnsafeMutablePointer<UInt32>?, _ source: UnsafeMutablePointer<nghttp2_data_source>?,
    _ user: UnsafeMutableRawPointer?
) -> Int {
    guard let buffer = unsafe buffer, let tag = unsafe source?.pointee.ptr else { return 0 }
    let pulled = unsafe with(user) {
        unsafe $0.pull(slot: SessionState.slot(tag), into: buffer, capacity: capacity)
    }
    if pulled.isDeferred { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }
    unsafe flags?.pointee |= pulled.flags
    if let trailers = unsafe pulled.trailers {
        let code = unsafe nghttp2_submit_trailer(session, id, trailers, pulled.trailersCount)
        unsafe with(user) { $0.note(code) }
    }
    return pulled.count
}
