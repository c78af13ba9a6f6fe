// The methods of the API with the schemas of their messages, for clients that work without
// generated types.

internal import CProtobufC
internal import CTriageProtos

/// A method of the API.
package struct MethodSchema: Sendable {
    /// `/triaged.v1.TriageService/SubmitReport`.
    package let path: String
    package let request: MessageSchema
    package let reply: MessageSchema

    /// Every method of `triaged.v1`, of health checking and of channelz.
    package static let all: [MethodSchema] = {
        unsafe [
            triaged__v1__triage_service__descriptor,
            triaged__v1__assignment_service__descriptor,
            triaged__v1__disclosure_service__descriptor,
            triaged__v1__evidence_service__descriptor,
            triaged__v1__audit_service__descriptor,
            triaged__v1__operations_service__descriptor,
            grpc__health__v1__health__descriptor,
            grpc__channelz__v1__channelz__descriptor,
        ].flatMap { unsafe methods(of: $0) }
    }()

    /// Finds a method by its bare name, such as `SubmitReport`.
    ///
    /// - Precondition: The API has such a method.
    package static func named(_ name: String) -> MethodSchema {
        guard let method = all.first(where: { $0.path.hasSuffix("/" + name) }) else {
            preconditionFailure("the API has no method \(name)")
        }
        return method
    }

    private static func methods(of service: ProtobufCServiceDescriptor) -> [MethodSchema] {
        let serviceName = unsafe String(cString: service.name)
        return (0..<Int(unsafe service.n_methods)).map { index in
            let method = unsafe service.methods[index]
            return unsafe MethodSchema(
                path: "/\(serviceName)/\(String(cString: method.name))",
                request: MessageSchema(method.input), reply: MessageSchema(method.output))
        }
    }
}
