// How the commands that open a data directory without the server are given its key-encryption key:
// in a file, or by a program. Knows nothing of what the key opens.

internal import ArgumentParser
internal import TriageIO
internal import TriageJournal

/// The flags that name the key-encryption key of a data directory.
struct KeyFlags: ParsableArguments {
    @Option(
        name: .customLong("key-file"),
        help: "File with the directory's key-encryption key, readable by you alone.")
    var file: String?
    @Option(
        name: .customLong("key-command"),
        help: "Program, with its arguments, that prints the key instead.")
    var command: String?

    /// How long a program may take to give the key.
    private static let commandMilliseconds: Int64 = 30_000

    func validate() throws {
        guard file == nil || command == nil else {
            throw ValidationError("--key-file or --key-command, not both")
        }
    }

    /// The key, if one was named.
    ///
    /// - Throws: ``KeyFlagsError`` with what to do.
    func source() throws(KeyFlagsError) -> KeySource? {
        var text: [UInt8]
        if let file {
            do {
                text = try SecretFile.read(
                    path: file, bytesMax: KeyEncryptionKey.textBytesMax,
                    credentials: Environment.value("CREDENTIALS_DIRECTORY"))
            } catch { throw KeyFlagsError(description: "key-file: \(error)") }
        } else if let command {
            let words = command.split(separator: " ").map(String.init)
            guard !words.isEmpty else {
                throw KeyFlagsError(description: "key-command: it names no program")
            }
            do {
                text = try ChildProgram.output(
                    words, bytesMax: KeyEncryptionKey.textBytesMax,
                    milliseconds: Self.commandMilliseconds)
            } catch { throw KeyFlagsError(description: "key-command: \(error)") }
        } else {
            return nil
        }
        guard let key = KeyEncryptionKey(wiping: &text) else {
            throw KeyFlagsError(
                description:
                    "the key is none: 32 bytes, 64 hexadecimal digits, or base64 of 32 bytes")
        }
        return KeySource(current: key)
    }
}

/// Why a key cannot be read.
struct KeyFlagsError: Error, CustomStringConvertible {
    let description: String
}
