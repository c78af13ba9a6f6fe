// A directory of a test's own, gone when the test ends.

import Glibc

/// Makes a fresh directory under the system's temporary one, and removes it with what is in it.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/triaged-test-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw Failure() }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    struct Failure: Error {}

    deinit {
        if let stream = unsafe opendir(path) {
            while let entry = unsafe readdir(stream) {
                let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { raw in
                    unsafe String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." { _ = unsafe unlink(path + "/" + name) }
            }
            unsafe closedir(stream)
        }
        _ = unsafe rmdir(path)
    }
}
