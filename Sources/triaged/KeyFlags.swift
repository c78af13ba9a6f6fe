// How the commands that open a data directory without the server are given its key-encryption key:
// in a file, or by a program. Knows nothing of what the key opens.

internal import ArgumentParser
internal import TriageJournal

/// The flags that name the key-encryption key of a data directory.
struct KeyFlags: ParsableArguments {
    @Option(
        name: .customLong("key-file"),
        help: "File with the directory's key-encryption key: mode 0600 or 0400.")
    var file: String?
    @Option(
        name: .customLong("key-command"),
        help: "Program, with its arguments, that writes the key to its standard output instead.")
    var command: String?
    @Option(
        name: .customLong("previous-key-file"),
        help: "File with the key before, if it may still wrap what is there.")
    var previous: String?

    func validate() throws {
        // A variable of a script that is not set would leave a directory without encryption.
        for (name, value) in [
            ("key-file", file), ("key-command", command), ("previous-key-file", previous),
        ] where value?.isEmpty ?? false {
            throw ValidationError("--\(name) is empty: name a key, or leave it out")
        }
        guard file == nil || command == nil else {
            throw ValidationError("--key-file or --key-command, not both")
        }
        guard previous == nil || file != nil || command != nil else {
            throw ValidationError("--previous-key-file goes with --key-file or --key-command")
        }
    }

    /// The key, if one was named.
    ///
    /// - Throws: ``ConfigurationError`` with what to do.
    func source() throws(ConfigurationError) -> KeySource? {
        guard let words = KeyMaterial.words(command ?? "") else {
            throw ConfigurationError("key-command: a quotation mark is not closed")
        }
        return try KeyMaterial(file: file ?? "", command: words, previousFile: previous ?? "")
            .load()
    }
}
