// The server's own schema, read from the descriptor set that is built in: which methods there are
// and whether they stream, and the files that reflection hands out. protoc-c's service tables have
// no streaming flags, hence the walk over google.protobuf.FileDescriptorSet itself.
//
// Source: google/protobuf/descriptor.proto (field numbers in comments below).

internal import CTriageProtos

/// The schema of the services, indexed once at start.
package struct DescriptorSet: Sendable {
    /// One RPC method.
    package struct Method: Hashable, Sendable {
        /// `/package.Service/Method`.
        package let path: String
        package let clientStreaming: Bool
        package let serverStreaming: Bool
    }

    /// What reflection answers.
    enum Answer: Equatable {
        /// Serialised FileDescriptorProtos: the one asked for, then what it imports.
        case files([[UInt8]])
        case extensionNumbers(type: String)
        case services([String])
        /// A gRPC status code and text.
        case failure(code: Int32, text: String)
    }

    private struct File: Sendable {
        var bytes: [UInt8]
        var dependencies: [String]
    }

    /// Every method of every service, in file order.
    package private(set) var methods: [Method] = []
    /// Full names of every service, sorted.
    package private(set) var services: [String] = []
    private var files: [String: File] = [:]
    private var fileOfSymbol: [String: String] = [:]
    private var messages: Set<String> = []

    /// The descriptor set that was built in.
    package static let embedded: DescriptorSet = {
        let bytes = unsafe [UInt8](
            UnsafeBufferPointer(
                start: triaged_descriptor_set(), count: triaged_descriptor_set_size()))
        guard let set = DescriptorSet(bytes) else {
            preconditionFailure("the built-in descriptor set is damaged")
        }
        return set
    }()

    /// Indexes a serialised FileDescriptorSet; nil when it is damaged.
    init?(_ bytes: [UInt8]) {
        var reader = DescriptorReader(bytes)
        // FileDescriptorSet.file = 1
        while let field = reader.next() {
            guard field.number == 1, let file = field.bytes else { continue }
            guard add(file: Array(file)) else { return nil }
        }
        guard !reader.isDamaged, !files.isEmpty else { return nil }
        services.sort()
    }

    private mutating func add(file bytes: [UInt8]) -> Bool {
        var name = ""
        var package = ""
        var file = File(bytes: bytes, dependencies: [])
        var named: [(kind: Int, bytes: ArraySlice<UInt8>)] = []
        var reader = DescriptorReader(bytes)
        // FileDescriptorProto: name = 1, package = 2, dependency = 3, message_type = 4, enum_type =
        // 5, service = 6
        while let field = reader.next() {
            guard let value = field.bytes else { continue }
            switch field.number {
            case 1: name = String(decoding: value, as: UTF8.self)
            case 2: package = String(decoding: value, as: UTF8.self)
            case 3: file.dependencies.append(String(decoding: value, as: UTF8.self))
            case 4, 5, 6: named.append((field.number, value))
            default: continue
            }
        }
        guard !reader.isDamaged, !name.isEmpty else { return false }
        let scope = package.isEmpty ? "" : package + "."
        for (kind, value) in named {
            switch kind {
            case 4: addMessage(value, scope, name)
            case 5: addEnum(value, scope, name)
            default: addService(value, scope, name)
            }
        }
        files[name] = file
        return true
    }

    // DescriptorProto: name = 1, field = 2, nested_type = 3, enum_type = 4
    private mutating func addMessage(_ bytes: ArraySlice<UInt8>, _ scope: String, _ file: String) {
        let name = scope + DescriptorReader.name(of: bytes)
        fileOfSymbol[name] = file
        messages.insert(name)
        var reader = DescriptorReader(Array(bytes))
        while let field = reader.next() {
            guard let value = field.bytes else { continue }
            switch field.number {
            case 2: fileOfSymbol[name + "." + DescriptorReader.name(of: value)] = file
            case 3: addMessage(value, name + ".", file)
            case 4: addEnum(value, name + ".", file)
            default: continue
            }
        }
    }

    // EnumDescriptorProto: name = 1, value = 2; values are siblings of their enum.
    private mutating func addEnum(_ bytes: ArraySlice<UInt8>, _ scope: String, _ file: String) {
        fileOfSymbol[scope + DescriptorReader.name(of: bytes)] = file
        var reader = DescriptorReader(Array(bytes))
        while let field = reader.next() {
            guard field.number == 2, let value = field.bytes else { continue }
            fileOfSymbol[scope + DescriptorReader.name(of: value)] = file
        }
    }

    // ServiceDescriptorProto: name = 1, method = 2. MethodDescriptorProto: name = 1,
    // client_streaming = 5, server_streaming = 6
    private mutating func addService(_ bytes: ArraySlice<UInt8>, _ scope: String, _ file: String) {
        let service = scope + DescriptorReader.name(of: bytes)
        fileOfSymbol[service] = file
        services.append(service)
        var reader = DescriptorReader(Array(bytes))
        while let field = reader.next() {
            guard field.number == 2, let value = field.bytes else { continue }
            let name = DescriptorReader.name(of: value)
            var streams = (client: false, server: false)
            var method = DescriptorReader(Array(value))
            while let flag = method.next() {
                if flag.number == 5 { streams.client = flag.number(default: 0) != 0 }
                if flag.number == 6 { streams.server = flag.number(default: 0) != 0 }
            }
            fileOfSymbol[service + "." + name] = file
            methods.append(
                Method(
                    path: "/\(service)/\(name)", clientStreaming: streams.client,
                    serverStreaming: streams.server))
        }
    }

    // MARK: Reflection

    /// Answers a question; NOT_FOUND (5) and INVALID_ARGUMENT (3) are answers too.
    func answer(_ question: ReflectionRequest.Question) -> Answer {
        switch question {
        case .none: .failure(code: 3, text: "the request asks nothing")
        case .fileByName(let name): answer(file: name)
        case .fileContainingSymbol(let symbol):
            answer(file: fileOfSymbol[symbol.hasPrefix(".") ? String(symbol.dropFirst()) : symbol])
        case .fileContainingExtension:
            .failure(code: 5, text: "there are no extensions")
        case .extensionNumbers(let type):
            messages.contains(type)
                ? .extensionNumbers(type: type)
                : .failure(code: 5, text: "there is no such type")
        case .listServices: .services(services)
        }
    }

    /// The file with everything that it imports, itself first.
    private func answer(file name: String?) -> Answer {
        guard let name, files[name] != nil else {
            return .failure(code: 5, text: "there is no such file or symbol")
        }
        var order = [name]
        var found: [[UInt8]] = []
        var index = 0
        while index < order.count {
            if let file = files[order[index]] {
                found.append(file.bytes)
                for dependency in file.dependencies where !order.contains(dependency) {
                    order.append(dependency)
                }
            }
            index += 1
        }
        return .files(found)
    }
}

/// Walks the fields of a message of descriptor.proto.
struct DescriptorReader {
    struct Field {
        var number: Int
        /// Of a length-delimited field.
        var bytes: ArraySlice<UInt8>?
        /// Of a varint.
        var value: UInt64?

        func number(default other: UInt64) -> UInt64 { value ?? other }
    }

    private let bytes: [UInt8]
    private var at = 0
    private(set) var isDamaged = false

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Field 1 as text: the name, in every descriptor.
    static func name(of bytes: ArraySlice<UInt8>) -> String {
        var reader = DescriptorReader(Array(bytes))
        while let field = reader.next() {
            if field.number == 1, let name = field.bytes {
                return String(decoding: name, as: UTF8.self)
            }
        }
        return ""
    }

    mutating func next() -> Field? {
        guard at < bytes.count else { return nil }
        guard let tag = varint() else { return damaged() }
        let number = Int(truncatingIfNeeded: tag >> 3)
        switch tag & 7 {
        case 0:
            guard let value = varint() else { return damaged() }
            return Field(number: number, bytes: nil, value: value)
        case 2:
            guard let count = varint(), count <= UInt64(bytes.count - at) else { return damaged() }
            at += Int(count)
            return Field(number: number, bytes: bytes[(at - Int(count))..<at], value: nil)
        case 1, 5:
            let size = tag & 7 == 1 ? 8 : 4
            guard bytes.count - at >= size else { return damaged() }
            at += size
            return Field(number: number, bytes: nil, value: nil)
        default: return damaged()
        }
    }

    private mutating func damaged() -> Field? {
        isDamaged = true
        at = bytes.count
        return nil
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < bytes.count, shift < 64 {
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
