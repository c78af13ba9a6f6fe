// Files that hold secrets: who may read them, and that none is overwritten.

import Glibc
import TestSupport
import Testing
import TriageIO

@Suite struct SecretFileTests {
    private let directory: TempDirectory

    init() throws { directory = try TempDirectory() }

    private func make(_ name: String, _ text: String, mode: mode_t) throws -> String {
        let path = directory.path + "/" + name
        let bytes = Array(text.utf8)
        try SecretFile.make(path: path, bytes.span)
        #expect(unsafe chmod(path, mode) == 0)
        return path
    }

    private func refusal(_ path: String, credentials: String? = nil) -> SecretFileError? {
        do throws(SecretFileError) {
            _ = try SecretFile.read(path: path, bytesMax: 64, credentials: credentials)
            return nil
        } catch { return error }
    }

    @Test(arguments: [0o600, 0o400] as [mode_t])
    func ownersAlone_isRead(mode: mode_t) throws {
        let path = try make("key", "secret\n", mode: mode)
        let bytes = try SecretFile.read(path: path, bytesMax: 7, credentials: nil)
        #expect(bytes == Array("secret\n".utf8))
    }

    @Test(arguments: [0o640, 0o660, 0o604, 0o644, 0o666, 0o610, 0o601] as [mode_t])
    func othersMayUseIt_isRefused_sayingWhatToDo(mode: mode_t) throws {
        let path = try make("key", "secret", mode: mode)
        let error = refusal(path)
        #expect(error == .exposed(path: path, mode: UInt16(mode)))
        #expect(error?.description.contains("chmod 0600 \(path)") == true)
        #expect(error?.description.contains("secret\n") == false)
    }

    @Test func madeFile_isTheOwnersAlone_andNeverReplaced() throws {
        let path = try make("key", "one", mode: 0o600)
        let other = Array("two".utf8)
        do throws(SecretFileError) {
            try SecretFile.make(path: path, other.span)
            Issue.record("replaced a secret")
        } catch { #expect(error == .io(IOError(.open, path: path, .exists))) }
        let bytes = try SecretFile.read(path: path, bytesMax: 64, credentials: nil)
        #expect(bytes == Array("one".utf8))
    }

    @Test func tooLarge_missing_directory_pipe_areRefused() throws {
        let path = try make("large", String(repeating: "x", count: 65), mode: 0o600)
        #expect(refusal(path) == .tooLarge(path: path, limitBytes: 64))
        let missing = directory.path + "/none"
        #expect(refusal(missing) == .io(IOError(.open, path: missing, .notFound)))
        #expect(refusal(directory.path) == .notAFile(path: directory.path))
        let pipe = directory.path + "/pipe"
        #expect(unsafe mkfifo(pipe, 0o600) == 0)
        #expect(refusal(pipe) == .notAFile(path: pipe))
    }

    /// The service manager's own files belong to root and show the mask of an access list.
    @Test(.enabled(if: geteuid() == 0, "needs to give files away"))
    func ownerMatters_andCredentialsMayShowAMask() throws {
        let path = try make("key", "secret", mode: 0o440)
        #expect(refusal(path, credentials: directory.path) == nil)
        #expect(refusal(path, credentials: directory.path + "/other") != nil)
        #expect(refusal(path) == .exposed(path: path, mode: 0o440))
        #expect(unsafe chmod(path, 0o444) == 0)
        #expect(
            refusal(path, credentials: directory.path) == .exposed(path: path, mode: 0o444))
        #expect(unsafe chmod(path, 0o600) == 0)
        #expect(unsafe chown(path, 12_345, 0) == 0)
        #expect(refusal(path) == .foreignOwner(path: path, owner: 12_345))
    }
}
