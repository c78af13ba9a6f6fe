// The two ends of a connected socket as bytes. Knows nothing of names.

import Glibc

/// An IP address and a port.
package struct SocketAddress: Equatable, Sendable {
    /// 4 or 16 bytes, in network order.
    package var bytes: [UInt8]
    package var port: UInt16

    /// Groups an address and a port.
    package init(bytes: [UInt8], port: UInt16) {
        self.bytes = bytes
        self.port = port
    }

    /// `192.0.2.1:443` or `[2001:db8:…]:443`.
    package var text: String {
        if bytes.count == 4 { return bytes.map(String.init).joined(separator: ".") + ":\(port)" }
        let groups = stride(from: 0, to: bytes.count, by: 2).map {
            String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
        }
        return "[" + groups.joined(separator: ":") + "]:\(port)"
    }
}

extension Socket {
    /// The peer's address; nil when the socket is not connected.
    ///
    /// Source: getpeername(2).
    package borrowing func peerAddress() -> SocketAddress? {
        unsafe Self.address { unsafe getpeername(descriptor, $0, $1) }
    }

    /// Our own address; nil when the socket has none.
    ///
    /// Source: getsockname(2).
    package borrowing func localAddress() -> SocketAddress? {
        unsafe Self.address { unsafe getsockname(descriptor, $0, $1) }
    }

    private static func address(
        _ ask: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var count = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let code = unsafe withUnsafeMutablePointer(to: &storage) { storage in
            unsafe storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe ask($0, &count)
            }
        }
        guard code == 0 else { return nil }
        // Family, then the port in network order, then the address: at 4 for IPv4, at 8 for IPv6.
        let bytes = unsafe withUnsafeBytes(of: storage) { unsafe [UInt8]($0.prefix(Int(count))) }
        let port = bytes.count >= 4 ? UInt16(bytes[2]) << 8 | UInt16(bytes[3]) : 0
        switch Int32(storage.ss_family) {
        case AF_INET where bytes.count >= 8:
            return SocketAddress(bytes: Array(bytes[4..<8]), port: port)
        case AF_INET6 where bytes.count >= 24:
            return SocketAddress(bytes: Array(bytes[8..<24]), port: port)
        default: return nil
        }
    }
}
