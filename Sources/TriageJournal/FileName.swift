// The names that a data directory's files have, and what a name stands for (FORMAT.md §2). Knows
// nothing of what is in the files.

internal import TriageBase
internal import TriageIO

/// File names of FORMAT.md §2.
enum FileName {
    static let lock = "lock"
    static let identity = "identity"
    static let keys = "keys"
    static let heads = "heads"
    static let mark = "mark"
    static let vault = "vault"
    static let spare = "spare.tmp"

    static func segment(_ first: UInt64) -> String { digits(first, 20) + ".journal" }
    static func leaves(_ first: UInt64) -> String { digits(first, 20) + ".leaves" }
    static func snapshot(_ sequence: UInt64) -> String { digits(sequence, 20) + ".snapshot" }
    /// `time`: what was cut at one place for the first time has a name without, 2 and up follow.
    static func torn(_ first: UInt64, _ offset: Int, time: UInt64 = 1) -> String {
        digits(first, 20) + "-" + digits(UInt64(offset), 8) + (time > 1 ? "-\(time)" : "") + ".torn"
    }

    private static func digits(_ value: UInt64, _ width: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }

    /// What a name in the directory stands for.
    enum Meaning: Equatable {
        case segment(UInt64), leaves(UInt64), snapshot(UInt64)
        case identity, keys, heads, mark, temporary, ignored, foreign
    }

    static func meaning(of entry: DirectoryEntry) -> Meaning {
        let name = entry.name
        if entry.isDirectory {
            return name == vault || name == "lost+found" ? .ignored : .foreign
        }
        if name == lock { return .ignored }
        switch name {
        case identity: return .identity
        case keys: return .keys
        case heads: return .heads
        case mark: return .mark
        default: break
        }
        if name.hasSuffix(".tmp") { return .temporary }
        if let first = number(name, before: ".journal"), first > 0 { return .segment(first) }
        if let first = number(name, before: ".leaves"), first > 0 { return .leaves(first) }
        if let sequence = number(name, before: ".snapshot") { return .snapshot(sequence) }
        return isTorn(name) ? .ignored : .foreign
    }

    /// The number in front of `suffix`, if the name is 20 digits and the suffix.
    private static func number(_ name: String, before suffix: String) -> UInt64? {
        guard name.hasSuffix(suffix) else { return nil }
        let text = name.dropLast(suffix.count)
        guard text.utf8.count == 20, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else {
            return nil
        }
        return UInt64(text)
    }

    private static func isTorn(_ name: String) -> Bool {
        guard name.hasSuffix(".torn") else { return false }
        let parts = name.dropLast(5).split(separator: "-", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), parts[0].utf8.count == 20 else { return false }
        return parts[1].utf8.count >= 8
            && parts.allSatisfy { part in
                !part.isEmpty && part.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
            }
    }
}
