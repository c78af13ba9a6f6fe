// The replies of OperationsService, health and reflection.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
package import TriageDomain

/// How the server is, for GetStatus; no personal data.
package struct ServerStatusReport: Sendable {
    /// What the server does; raw values equal the API's.
    package enum State: UInt8, CaseIterable, Sendable {
        case serving = 1
        case draining = 2
        case journalFailed = 3
    }

    package var version: String
    package var startTime: WallTime
    package var state: State
    /// The last journal sequence that is on disk.
    package var durableSequence: UInt64
    package var counts: WorldCounts
    /// Sequence and time of the newest snapshot; nil when there is none.
    package var snapshot: (sequence: UInt64, time: WallTime)?
    package var recoveryMilliseconds: Int64
    /// What recovery repaired; empty when nothing was.
    package var recoveryReport: String
    /// Watches that are open.
    package var watchCount: Int
    /// nil without encryption.
    package var encryption: EncryptionReport?

    package init(
        version: String, startTime: WallTime, state: State, durableSequence: UInt64,
        counts: WorldCounts, snapshot: (sequence: UInt64, time: WallTime)?,
        recoveryMilliseconds: Int64, recoveryReport: String, watchCount: Int,
        encryption: EncryptionReport? = nil
    ) {
        self.version = version
        self.startTime = startTime
        self.state = state
        self.durableSequence = durableSequence
        self.counts = counts
        self.snapshot = snapshot
        self.recoveryMilliseconds = recoveryMilliseconds
        self.recoveryReport = recoveryReport
        self.watchCount = watchCount
        self.encryption = encryption
    }
}

/// How what is on disk is encrypted; never key material.
package struct EncryptionReport: Sendable {
    /// A key in use.
    package struct Key: Sendable {
        package var number: UInt32
        package var made: WallTime

        package init(number: UInt32, made: WallTime) {
            self.number = number
            self.made = made
        }
    }

    /// Name of the key-encryption key.
    package var kek: String
    package var dataKey: Key
    package var signingKey: Key
    /// Keys in all.
    package var keyCount: Int

    package init(kek: String, dataKey: Key, signingKey: Key, keyCount: Int) {
        self.kek = kek
        self.dataKey = dataKey
        self.signingKey = signingKey
        self.keyCount = keyCount
    }
}

/// Whether a service can be called; raw values are those of grpc.health.v1.
package enum HealthStatus: UInt8, CaseIterable, Sendable {
    case serving = 1
    case notServing = 2
    /// There is no such service; in Watch only.
    case serviceUnknown = 3
}

extension ReplyEncoder {
    /// The reply of GetStatus.
    package func status(_ report: ServerStatusReport) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__server_status__init)
        unsafe reply.pointee.version = arena.text(report.version)
        unsafe reply.pointee.start_time = arena.time(report.startTime)
        unsafe reply.pointee.state = .init(UInt32(report.state.rawValue))
        unsafe reply.pointee.durable_sequence = Int64(bitPattern: report.durableSequence)
        unsafe reply.pointee.open_case_count = Int64(report.counts.openCases)
        let levels = Level.allCases.filter {
            let counts = report.counts.levels[Int($0.rawValue)]
            return counts.queued + counts.held > 0
        }
        unsafe reply.pointee.n_levels = levels.count
        unsafe reply.pointee.levels = arena.list(levels) { level in
            let counts = report.counts.levels[Int(level.rawValue)]
            let copy = unsafe arena.new(triaged__v1__level_status__init)
            unsafe copy.pointee.level = API.level(level)
            unsafe copy.pointee.queued_count = Int64(counts.queued)
            unsafe copy.pointee.held_count = Int64(counts.held)
            unsafe copy.pointee.oldest_create_time = counts.oldestQueued.map {
                unsafe arena.time($0)
            }
            return unsafe copy
        }
        unsafe reply.pointee.case_count = Int64(report.counts.cases)
        unsafe reply.pointee.report_count = Int64(report.counts.reports)
        unsafe reply.pointee.assignment_count = Int64(report.counts.heldAssignments)
        unsafe reply.pointee.open_disclosure_count = Int64(report.counts.openDisclosures)
        if let snapshot = report.snapshot {
            unsafe reply.pointee.snapshot_sequence = Int64(bitPattern: snapshot.sequence)
            unsafe reply.pointee.snapshot_time = arena.time(snapshot.time)
        }
        unsafe reply.pointee.recovery_duration = arena.duration(
            milliseconds: report.recoveryMilliseconds)
        unsafe reply.pointee.recovery_report = arena.text(report.recoveryReport)
        unsafe reply.pointee.lane_count = Int64(report.counts.lanes)
        unsafe reply.pointee.watch_count = Int64(report.watchCount)
        if let encryption = report.encryption {
            let copy = unsafe arena.new(triaged__v1__encryption_status__init)
            unsafe copy.pointee.kek = arena.text(encryption.kek)
            unsafe copy.pointee.data_key_number = Int64(encryption.dataKey.number)
            unsafe copy.pointee.data_key_time = arena.time(encryption.dataKey.made)
            unsafe copy.pointee.signing_key_number = Int64(encryption.signingKey.number)
            unsafe copy.pointee.signing_key_time = arena.time(encryption.signingKey.made)
            unsafe copy.pointee.key_count = Int32(clamping: encryption.keyCount)
            unsafe reply.pointee.encryption = unsafe copy
        }
        return unsafe arena.pack(reply)
    }

    /// The reply of CreateSnapshot.
    package func createSnapshot(_ answer: SnapshotAnswer) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__create_snapshot_response__init)
        unsafe reply.pointee.sequence = Int64(bitPattern: answer.sequence)
        unsafe reply.pointee.record_count = Int64(bitPattern: answer.recordCount)
        unsafe reply.pointee.size_bytes = Int64(bitPattern: answer.bytes)
        unsafe reply.pointee.duration = arena.duration(milliseconds: Int64(answer.milliseconds))
        return unsafe arena.pack(reply)
    }

    /// The reply of Health List: every service with its status.
    package func healthList(_ services: [String], _ status: HealthStatus) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(grpc__health__v1__health_list_response__init)
        unsafe reply.pointee.n_statuses = services.count
        unsafe reply.pointee.statuses = arena.list(services) { name in
            let entry = unsafe arena.new(
                grpc__health__v1__health_list_response__statuses_entry__init)
            let value = unsafe arena.new(grpc__health__v1__health_check_response__init)
            unsafe value.pointee.status = .init(UInt32(status.rawValue))
            unsafe entry.pointee.key = arena.text(name)
            unsafe entry.pointee.value = unsafe value
            return unsafe entry
        }
        return unsafe arena.pack(reply)
    }

    /// The reply of Health Check and Watch.
    package func health(_ status: HealthStatus) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(grpc__health__v1__health_check_response__init)
        unsafe reply.pointee.status = .init(UInt32(status.rawValue))
        return unsafe arena.pack(reply)
    }

    /// The answer to one question of server reflection, v1 or v1alpha.
    package func reflection(
        _ request: ReflectionRequest, _ descriptors: DescriptorSet
    ) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(grpc__reflection__v1__server_reflection_response__init)
        unsafe reply.pointee.valid_host = arena.text(request.host)
        unsafe reply.pointee.original_request = original(request)
        let answer = descriptors.answer(request.question)
        // The case of its oneof is the number of the field that is set.
        switch answer {
        case .files(let files):
            let message = unsafe arena.new(grpc__reflection__v1__file_descriptor_response__init)
            let list = unsafe arena.take(files.count, of: ProtobufCBinaryData.self)
            for (index, file) in files.enumerated() { unsafe list[index] = arena.bytes(file) }
            unsafe message.pointee.n_file_descriptor_proto = files.count
            unsafe message.pointee.file_descriptor_proto = unsafe list
            unsafe reply.pointee.message_response_case = .init(4)
            unsafe reply.pointee.file_descriptor_response = unsafe message
        case .extensionNumbers(let type):
            // proto3 has no extensions.
            let message = unsafe arena.new(grpc__reflection__v1__extension_number_response__init)
            unsafe message.pointee.base_type_name = arena.text(type)
            unsafe reply.pointee.message_response_case = .init(5)
            unsafe reply.pointee.all_extension_numbers_response = unsafe message
        case .services(let names):
            let message = unsafe arena.new(grpc__reflection__v1__list_service_response__init)
            unsafe message.pointee.n_service = names.count
            unsafe message.pointee.service = arena.list(names) { name in
                let service = unsafe arena.new(grpc__reflection__v1__service_response__init)
                unsafe service.pointee.name = arena.text(name)
                return unsafe service
            }
            unsafe reply.pointee.message_response_case = .init(6)
            unsafe reply.pointee.list_services_response = unsafe message
        case .failure(let code, let text):
            let message = unsafe arena.new(grpc__reflection__v1__error_response__init)
            unsafe message.pointee.error_code = code
            unsafe message.pointee.error_message = arena.text(text)
            unsafe reply.pointee.message_response_case = .init(7)
            unsafe reply.pointee.error_response = unsafe message
        }
        return unsafe arena.pack(reply)
    }

    private func original(
        _ request: ReflectionRequest
    ) -> UnsafeMutablePointer<Grpc__Reflection__V1__ServerReflectionRequest> {
        let message = unsafe arena.new(grpc__reflection__v1__server_reflection_request__init)
        unsafe message.pointee.host = arena.text(request.host)
        switch request.question {
        case .none: break
        case .fileByName(let name):
            unsafe message.pointee.message_request_case = .init(3)
            unsafe message.pointee.file_by_filename = arena.text(name)
        case .fileContainingSymbol(let symbol):
            unsafe message.pointee.message_request_case = .init(4)
            unsafe message.pointee.file_containing_symbol = arena.text(symbol)
        case .fileContainingExtension(let type, let number):
            let asked = unsafe arena.new(grpc__reflection__v1__extension_request__init)
            unsafe asked.pointee.containing_type = arena.text(type)
            unsafe asked.pointee.extension_number = number
            unsafe message.pointee.message_request_case = .init(5)
            unsafe message.pointee.file_containing_extension = unsafe asked
        case .extensionNumbers(let type):
            unsafe message.pointee.message_request_case = .init(6)
            unsafe message.pointee.all_extension_numbers_of_type = arena.text(type)
        case .listServices(let value):
            unsafe message.pointee.message_request_case = .init(7)
            unsafe message.pointee.list_services = arena.text(value)
        }
        return unsafe message
    }
}
