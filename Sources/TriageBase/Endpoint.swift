// HOST:PORT, as flags and listings write it. Resolves nothing.

/// A host and a port.
package struct Endpoint: Equatable, Sendable, CustomStringConvertible {
    /// A name, an IPv4 literal, or an IPv6 literal without brackets.
    package var host: String
    /// 0 lets the system pick one where something listens.
    package var port: UInt16

    /// Groups a host and a port.
    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Splits text at its last colon; an IPv6 literal stands in brackets.
    ///
    /// - Returns: nil unless there is a host and a port below 65,536.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty else { return nil }
        self.host = host
        self.port = port
    }

    package var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
