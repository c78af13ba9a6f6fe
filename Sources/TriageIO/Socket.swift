// Non-blocking TCP sockets on addresses given as literals: listen, accept, connect, read, write,
// close. Knows nothing of what the bytes mean, of TLS, or of when a socket is ready.

import CTriageShims
import Glibc

/// A system call on a socket, thread or event descriptor failed.
package struct SocketError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The system call.
    package let operation: String
    /// Its errno.
    package let errno: Int32

    /// Groups a call and its errno.
    package init(operation: String, errno: Int32) {
        self.operation = operation
        self.errno = errno
    }

    static func last(_ operation: String) -> SocketError {
        SocketError(operation: operation, errno: Glibc.errno)
    }

    package var description: String {
        "\(operation): \(unsafe String(cString: strerror(errno)))"
    }
}

/// A host name could not be resolved.
package struct ResolveError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The resolver's words.
    package let reason: String

    /// Says why.
    package init(reason: String) { self.reason = reason }

    package var description: String { reason }
}

/// What one read or write of a non-blocking socket did.
package enum SocketTransfer: Equatable, Sendable {
    /// So many bytes, at least one.
    case bytes(Int)
    /// Nothing can be moved now: wait for the event.
    case wouldBlock
    /// The peer has closed its side (reads only).
    case ended
    /// The connection is broken; errno.
    case failed(Int32)
}

/// An owned, non-blocking, close-on-exec socket.
///
/// Close errors carry nothing to act on for sockets (the bytes' fate is TCP's), so `deinit` closes.
package struct Socket: ~Copyable, Sendable {
    /// The descriptor, for registering with an ``EventLoop``; owned by this value.
    package let descriptor: Int32

    init(owning descriptor: Int32) { self.descriptor = descriptor }

    deinit { _ = Glibc.close(descriptor) }

    /// Opens a listener on a literal address.
    ///
    /// - Parameters:
    ///   - host: IPv4 or IPv6 literal.
    ///   - port: 0 lets the kernel choose; read it back with ``localPort()``.
    ///   - backlog: Connections that may wait for ``accept()``.
    ///   - shared: Sets SO_REUSEPORT, so that each reactor has an accept queue of its own on one
    ///     port. Any process of the same user that asks for the same can then join in: see
    ///     ``checkFree(host:port:)``.
    /// - Returns: The listening socket.
    /// - Throws: ``SocketError``; EINVAL from `bind` when the host is not a literal.
    ///
    /// Source: socket(2), bind(2), listen(2), socket(7).
    package static func listen(
        host: String, port: UInt16, backlog: Int32, shared: Bool = false
    ) throws(SocketError) -> Socket {
        let socket = try open(host: host)
        try socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
        if shared { try socket.set(SOL_SOCKET, SO_REUSEPORT, 1) }
        guard unsafe CTriageShims_bind(socket.descriptor, host, port) == 0 else {
            throw SocketError.last("bind")
        }
        guard Glibc.listen(socket.descriptor, backlog) == 0 else {
            throw SocketError.last("listen")
        }
        return socket
    }

    /// Checks that nobody listens on a port, before shared listeners are opened on it.
    ///
    /// Without this a second server would share the port, and get half of the first one's clients.
    ///
    /// - Parameters:
    ///   - host: IPv4 or IPv6 literal.
    ///   - port: Not 0.
    /// - Throws: ``SocketError``: EADDRINUSE when somebody listens.
    ///
    /// Source: bind(2); socket(7): both sides must have set SO_REUSEPORT to share.
    package static func checkFree(host: String, port: UInt16) throws(SocketError) {
        let socket = try open(host: host)
        try socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
        guard unsafe CTriageShims_bind(socket.descriptor, host, port) == 0 else {
            throw SocketError.last("bind")
        }
    }

    /// Takes the next connection that waits.
    ///
    /// - Returns: nil when none waits, or when one was gone before it could be taken.
    /// - Throws: ``SocketError`` for lack of descriptors or memory: stop accepting for a while.
    ///
    /// Source: accept4(2), "Error handling": network errors of the new connection mean try again.
    package borrowing func accept() throws(SocketError) -> Socket? {
        let accepted = CTriageShims_accept(descriptor)
        guard accepted < 0 else {
            let socket = Socket(owning: accepted)
            try? socket.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
            return socket
        }
        switch errno {
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: throw SocketError.last("accept4")
        default: return nil
        }
    }

    /// Starts to connect to a literal address; writable, or in error, when that is decided.
    ///
    /// - Throws: ``SocketError`` when the attempt fails at once.
    ///
    /// Source: connect(2).
    package static func connect(host: String, port: UInt16) throws(SocketError) -> Socket {
        let socket = try open(host: host)
        try socket.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        if unsafe CTriageShims_connect(socket.descriptor, host, port) != 0, errno != EINPROGRESS {
            throw SocketError.last("connect")
        }
        return socket
    }

    /// True for an IPv4 or IPv6 literal, which needs no resolver.
    package static func isLiteral(_ host: String) -> Bool { unsafe CTriageShims_family(host) >= 0 }

    /// The address literals of a host name, in the order of preference of RFC 6724, each once; a
    /// literal is returned as it is.
    ///
    /// Blocks for the resolver.
    ///
    /// - Returns: At least one.
    /// - Throws: ``ResolveError`` when the name has no address, or nobody could be asked.
    ///
    /// Source: getaddrinfo(3).
    package static func resolveAll(_ host: String) throws(ResolveError) -> [String] {
        if isLiteral(host) { return [host] }
        var code: Int32 = 0
        let text = unsafe withUnsafeTemporaryAllocation(
            of: CChar.self, capacity: addressBytesMax
        ) { buffer in
            guard let base = buffer.baseAddress else { return "" }
            code = unsafe CTriageShims_resolve(host, base, buffer.count)
            return code == 0 ? unsafe String(cString: base) : ""
        }
        guard code == 0 else {
            throw ResolveError(reason: unsafe String(cString: CTriageShims_resolve_text(code)))
        }
        var addresses: [String] = []
        for line in text.split(separator: "\n") {
            let address = String(line)
            // An address with a scope, as of a link, is none that `connect` takes.
            if isLiteral(address), !addresses.contains(address) { addresses.append(address) }
        }
        guard !addresses.isEmpty else { throw ResolveError(reason: "it has no address") }
        return addresses
    }

    /// Text of a name's addresses: some hundred.
    private static let addressBytesMax = 8 << 10

    /// The port that the socket is bound to.
    ///
    /// Source: getsockname(2).
    package borrowing func localPort() throws(SocketError) -> UInt16 {
        guard let port = UInt16(exactly: CTriageShims_local_port(descriptor)) else {
            throw SocketError.last("getsockname")
        }
        return port
    }

    /// Takes the pending error of the socket: how a connect ended.
    ///
    /// - Returns: 0 when there is none.
    ///
    /// Source: socket(7) SO_ERROR.
    package borrowing func takeError() -> Int32 {
        let code = CTriageShims_socket_error(descriptor)
        return code < 0 ? EBADF : code
    }

    /// Reads what is there into the front of a buffer.
    ///
    /// Source: recv(2); EINTR is retried.
    @inline(__always)
    package borrowing func read(into buffer: inout [UInt8]) -> SocketTransfer {
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe recv(descriptor, bytes.baseAddress, bytes.count, 0)
            }
            if count > 0 { return .bytes(count) }
            if count == 0 { return .ended }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case let code: return .failed(code)
            }
        }
    }

    /// Writes as many bytes as the socket takes.
    ///
    /// Source: send(2) with MSG_NOSIGNAL; EINTR is retried.
    @inline(__always)
    package borrowing func write(_ bytes: Span<UInt8>) -> SocketTransfer {
        while true {
            let count = unsafe bytes.withUnsafeBufferPointer { buffer in
                unsafe send(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 { return .bytes(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case let code: return .failed(code)
            }
        }
    }

    /// Ends the sending side; what was written is still delivered.
    ///
    /// Source: shutdown(2).
    package borrowing func endOutput() {
        _ = shutdown(descriptor, Int32(SHUT_WR))
    }

    private static func open(host: String) throws(SocketError) -> Socket {
        let family = unsafe CTriageShims_family(host)
        guard family >= 0 else { throw SocketError(operation: "bind", errno: EINVAL) }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(family, type, 0)
        guard descriptor >= 0 else { throw SocketError.last("socket") }
        return Socket(owning: descriptor)
    }

    private borrowing func set(_ level: Int32, _ option: Int32, _ value: Int32) throws(SocketError)
    {
        guard CTriageShims_set_int(descriptor, level, option, value) == 0 else {
            throw SocketError.last("setsockopt")
        }
    }
}
