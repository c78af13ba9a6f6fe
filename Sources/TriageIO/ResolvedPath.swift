// Where a path leads to, however it is written. Looks at directories and links; opens nothing.

internal import Glibc

/// A path without symbolic links, `.` and `..`, from the root.
package struct ResolvedPath: Equatable, Sendable {
    /// Its components; none: the root.
    private let components: [Substring]

    /// Resolves a path as far as it is there; what is not there yet counts as it is written.
    ///
    /// Source: realpath(3).
    package init(_ path: String) {
        var left: [Substring] = []
        var there = path.isEmpty ? "." : path
        var found = Self.real(there)
        while found == nil, there != ".", there != "/" {
            while there.utf8.count > 1, there.hasSuffix("/") { there.removeLast() }
            let slash = there.lastIndex(of: "/")
            left.append(slash.map { there[there.index(after: $0)...] } ?? there[...])
            there = slash.map { $0 == there.startIndex ? "/" : String(there[..<$0]) } ?? "."
            found = Self.real(there)
        }
        var components = (found ?? there).split(separator: "/")
        for component in left.reversed() where component != "." {
            if component == ".." { _ = components.popLast() } else { components.append(component) }
        }
        self.components = components
    }

    private static func real(_ path: String) -> String? {
        guard let found = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(found) }
        return unsafe String(cString: found)
    }

    /// Whether another path is this one, or lies below it.
    package func contains(_ other: ResolvedPath) -> Bool {
        other.components.starts(with: components)
    }
}
