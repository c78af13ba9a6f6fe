// Files that hold a secret: read only if nobody else can read them, made so that nobody else can.
// Knows nothing of what the secret is.

internal import CTriageShims
internal import Glibc

/// Why a secret could not be read or written, with what to do.
package enum SecretFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A call failed.
    case io(IOError)
    /// It is a directory, a device or a pipe.
    case notAFile(path: String)
    /// Others than its owner may use it; `mode` is the file's.
    case exposed(path: String, mode: UInt16)
    /// It belongs to another user than the one who runs this, and not to root.
    case foreignOwner(path: String, owner: UInt32)
    /// It is larger than any such secret.
    case tooLarge(path: String, limitBytes: Int)

    package var description: String {
        switch self {
        case .io(let error): "\(error)"
        case .notAFile(let path): "\(path) is not a file"
        case .exposed(let path, let mode):
            "\(path) has mode 0\(String(mode, radix: 8)), so that others can use it: "
                + "run `chmod 0600 \(path)`, and make a new secret if somebody may have read it"
        case .foreignOwner(let path, let owner):
            "\(path) belongs to user \(owner): run `chown` so that it belongs to the user who runs "
                + "this, or to root"
        case .tooLarge(let path, let limit): "\(path) is larger than \(limit) bytes"
        }
    }
}

/// Files of mode 0600 or 0400.
package enum SecretFile {
    /// Reads a secret; wiping it is the caller's.
    ///
    /// The file must belong to the process's user or to root, and give nothing to group and others.
    /// A file that belongs to root and lies in the directory of the service manager's credentials
    /// may be readable by its group: the manager lets one user in by an access list, whose mask
    /// shows as the group's bits.
    ///
    /// - Parameters:
    ///   - path: Its path; links are followed.
    ///   - bytesMax: Above this size it is refused.
    ///   - credentials: The service manager's directory, `$CREDENTIALS_DIRECTORY`; nil without one.
    /// - Returns: Everything that is in it; the caller wipes it.
    /// - Throws: ``SecretFileError``.
    ///
    /// Source: open(2), fstat(2), systemd.exec(5) "Credentials".
    package static func read(
        path: String, bytesMax: Int, credentials: String?
    ) throws(SecretFileError) -> [UInt8] {
        let descriptor = unsafe CTriageShims_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0)
        guard descriptor >= 0 else { throw .io(IOError(.open, path: path, .current)) }
        defer { _ = close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw .io(IOError(.stat, path: path, .current))
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile(path: path) }
        guard status.st_uid == geteuid() || status.st_uid == 0 else {
            throw .foreignOwner(path: path, owner: status.st_uid)
        }
        let isCredential =
            status.st_uid == 0 && credentials.map { path.hasPrefix($0 + "/") } ?? false
        let forbidden: mode_t = isCredential ? 0o037 : 0o077
        guard status.st_mode & forbidden == 0 else {
            throw .exposed(path: path, mode: UInt16(truncatingIfNeeded: status.st_mode & 0o7777))
        }
        var bytes = [UInt8](repeating: 0, count: bytesMax + 1)
        var count = 0
        while count < bytes.count {
            let start = count
            let result = unsafe bytes.withUnsafeMutableBytes { raw in
                unsafe Glibc.read(
                    descriptor, raw.baseAddress?.advanced(by: start), raw.count - start)
            }
            if result < 0 {
                if errno == EINTR { continue }
                throw .io(IOError(.read, path: path, .current))
            }
            if result == 0 { break }
            count += result
        }
        guard count <= bytesMax else { throw .tooLarge(path: path, limitBytes: bytesMax) }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Makes a file of mode 0600 that was not there.
    ///
    /// - Throws: ``SecretFileError``: `.io` with `.exists` when there is one: it is left as it is.
    /// - Durability: on disk when this returns
    ///
    /// Source: open(2) O_EXCL, fsync(2).
    package static func make(path: String, _ bytes: Span<UInt8>) throws(SecretFileError) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
        let descriptor = unsafe CTriageShims_open(path, flags, 0o600)
        guard descriptor >= 0 else { throw .io(IOError(.open, path: path, .current)) }
        defer { _ = close(descriptor) }
        var done = 0
        while done < bytes.count {
            let start = done
            let result = unsafe bytes.withUnsafeBytes { raw in
                unsafe Glibc.write(
                    descriptor, raw.baseAddress?.advanced(by: start), raw.count - start)
            }
            if result < 0 {
                if errno == EINTR { continue }
                throw .io(IOError(.write, path: path, .current))
            }
            done += result
        }
        guard fsync(descriptor) == 0 else { throw .io(IOError(.sync, path: path, .current)) }
        do { try Directory.sync(Directory.parent(of: path)) } catch { throw .io(error) }
    }
}
