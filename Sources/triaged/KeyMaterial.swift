// Where the key-encryption key comes from: a file that nobody else can read, or a program. Knows
// how it is fetched, never what it wraps.

internal import TriageBase
internal import TriageIO
internal import TriageJournal

/// Where keys are fetched from.
struct KeyMaterial: Sendable {
    /// A file; empty for none.
    var file: String
    /// A program and what it is given; empty for none.
    var command: [String]
    /// The file of the key before; empty for none.
    var previousFile: String

    /// The longest that a program may take: an operator waits for the start.
    static let commandMilliseconds: Int64 = 30_000

    var isGiven: Bool { !file.isEmpty || !command.isEmpty }

    /// Fetches the keys.
    ///
    /// - Returns: nil when none is configured.
    /// - Throws: ``ConfigurationError`` saying what to do; never with key material.
    func load() throws(ConfigurationError) -> KeySource? {
        let current: KeyEncryptionKey
        if !file.isEmpty {
            current = try Self.read(file)
        } else if !command.isEmpty {
            current = try run()
        } else {
            return nil
        }
        guard !previousFile.isEmpty else { return KeySource(current: current) }
        return KeySource(current: current, previous: try Self.read(previousFile))
    }

    private static func read(_ path: String) throws(ConfigurationError) -> KeyEncryptionKey {
        var bytes: [UInt8]
        do throws(SecretFileError) {
            bytes = try SecretFile.read(
                path: path, bytesMax: KeyEncryptionKey.textBytesMax,
                credentials: Environment.value("CREDENTIALS_DIRECTORY"))
        } catch { throw ConfigurationError("\(error)") }
        return try key(&bytes, from: path)
    }

    private func run() throws(ConfigurationError) -> KeyEncryptionKey {
        var bytes: [UInt8]
        do throws(ChildProgramError) {
            bytes = try ChildProgram.output(
                command, bytesMax: KeyEncryptionKey.textBytesMax,
                milliseconds: Self.commandMilliseconds)
        } catch {
            // Whom it asks may answer again later.
            throw ConfigurationError("key-command: \(error)", exitCode: 74)
        }
        return try Self.key(&bytes, from: "the output of \(command[0])")
    }

    private static func key(
        _ bytes: inout [UInt8], from source: String
    ) throws(ConfigurationError) -> KeyEncryptionKey {
        guard let key = KeyEncryptionKey(wiping: &bytes) else {
            throw ConfigurationError(
                "\(source) holds no key: 32 bytes, or their 64 hexadecimal digits, or their "
                    + "base64; `triaged keys generate` makes one")
        }
        return key
    }

    /// Splits a command into words: at blanks, unless within quotation marks.
    ///
    /// - Returns: nil when a quotation mark is not closed.
    static func words(_ text: String) -> [String]? {
        var words: [String] = []
        var word: String?
        var quote: Character?
        for character in text {
            if let open = quote {
                if character == open { quote = nil } else { word?.append(character) }
            } else if character == "\"" || character == "'" {
                quote = character
                word = word ?? ""
            } else if character == " " || character == "\t" {
                if let done = word { words.append(done) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        guard quote == nil else { return nil }
        if let word { words.append(word) }
        return words
    }
}

extension SettingReader {
    /// Where the key-encryption key comes from.
    ///
    /// - Throws: ``ConfigurationError`` for a contradiction.
    func keyMaterial(data: String) throws(ConfigurationError) -> KeyMaterial {
        let file = try text(.keyFile)
        let line = try text(.keyCommand)
        let previous = try text(.previousKeyFile)
        guard file.isEmpty || line.isEmpty else {
            throw wrong(.keyCommand, "excludes key-file: give one of them")
        }
        guard let command = KeyMaterial.words(line) else {
            throw wrong(.keyCommand, "has a quotation mark that is not closed")
        }
        guard command.first?.hasPrefix("/") ?? true else {
            throw wrong(.keyCommand, "must begin with the absolute path of a program")
        }
        let material = KeyMaterial(file: file, command: command, previousFile: previous)
        guard previous.isEmpty || material.isGiven else {
            throw wrong(.previousKeyFile, "goes with key-file or key-command")
        }
        let folder = ResolvedPath(data)
        for (setting, path) in [(Setting.keyFile, file), (.previousKeyFile, previous)]
        where !path.isEmpty && folder.contains(ResolvedPath(path)) {
            throw wrong(setting, "must be outside the data folder: a backup would have both")
        }
        return material
    }
}
