// Messages of backups: the list of files, and the bytes of one of them. Knows nothing of what the
// files are.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase

/// A file of a backup, as the API lists it.
package struct BackupFileReport: Sendable {
    package var name: String
    /// Bytes to be read from its front.
    package var readBytes: Int
    /// Bytes of the file in the backup.
    package var sizeBytes: Int
    package var isFinal: Bool

    /// Groups the fields.
    package init(name: String, readBytes: Int, sizeBytes: Int, isFinal: Bool) {
        self.name = name
        self.readBytes = readBytes
        self.sizeBytes = sizeBytes
        self.isFinal = isFinal
    }
}

/// A ReadBackup request.
package struct ReadBackupRequest: Sendable {
    package var name: String
    package var readBytes: Int
    /// nil: any.
    package var sizeBytes: Int?
}

extension RequestDecoder {
    /// Decodes ListBackup, which says nothing.
    package func decodeListBackup(_ bytes: Span<UInt8>) throws(RequestError) {
        _ = unsafe try unpack(bytes, triaged__v1__list_backup_request__init)
    }

    /// Decodes ReadBackup.
    package func decodeReadBackup(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> ReadBackupRequest {
        let message = unsafe try unpack(bytes, triaged__v1__read_backup_request__init)
        var form = Form()
        let name = unsafe form.text(message.pointee.name, min: 1, max: 128, "name")
        let count = unsafe message.pointee.read_bytes
        if count <= 0 { form.refuse({ "read_bytes" }, "must be as it was listed") }
        let size = unsafe message.pointee.size_bytes
        if size < 0 { form.refuse({ "size_bytes" }, "must be as it was listed") }
        return try form.finish(
            ReadBackupRequest(
                name: name, readBytes: Int(max(0, count)), sizeBytes: size > 0 ? Int(size) : nil))
    }
}

extension ReplyEncoder {
    /// A message of ListBackup.
    package func listBackup(
        sequence: UInt64, root: Digest, _ files: [BackupFileReport]
    ) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__list_backup_response__init)
        unsafe reply.pointee.sequence = Int64(bitPattern: sequence)
        unsafe reply.pointee.root = arena.text(root.description)
        unsafe reply.pointee.n_files = files.count
        unsafe reply.pointee.files = arena.list(files) { file in
            let part = unsafe arena.new(triaged__v1__backup_file__init)
            unsafe part.pointee.name = arena.text(file.name)
            unsafe part.pointee.read_bytes = Int64(file.readBytes)
            unsafe part.pointee.size_bytes = Int64(file.sizeBytes)
            unsafe part.pointee.is_final = file.isFinal ? 1 : 0
            return unsafe part
        }
        return unsafe arena.pack(reply)
    }

    /// A message of ReadBackup with bytes.
    package func readBackup(chunk: [UInt8]) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__read_backup_response__init)
        unsafe reply.pointee.part_case = .init(1)
        unsafe reply.pointee.chunk = arena.bytes(chunk)
        return unsafe arena.pack(reply)
    }

    /// The last message of ReadBackup.
    package func readBackup(digest: Digest) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__read_backup_response__init)
        unsafe reply.pointee.part_case = .init(2)
        unsafe reply.pointee.sha256 = arena.text(digest.description)
        return unsafe arena.pack(reply)
    }
}
