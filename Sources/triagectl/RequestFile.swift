// Requests written by people: YAML (hence also JSON) files, checked against the API's schema, with
// line and column in every error.

internal import ArgumentParser
internal import TriageBase
internal import TriageCodec
internal import TriageIO
internal import Yams

/// Reads messages from YAML or JSON files.
enum RequestFile {
    /// Reads a file of one message, or of a list of them.
    ///
    /// - Parameters:
    ///   - path: Its path.
    ///   - schema: What the messages are.
    /// - Returns: The messages, in order.
    /// - Throws: `ValidationError` naming file, line and column.
    static func read(path: String, schema: MessageSchema) throws -> [DynamicMessage] {
        let root: Node
        do {
            guard
                let node = try Yams.compose(
                    yaml: try TextFile.read(path: path, bytesMax: 16 << 20))
            else { throw ValidationError("\(path): is empty") }
            root = node
        } catch let error as TextFileError {
            throw ValidationError("\(path): \(error)")
        } catch let error as YamlError {
            throw ValidationError("\(path): \(error)")
        }
        if let sequence = root.sequence {
            return try sequence.map { try message($0, schema, path) }
        }
        return [try message(root, schema, path)]
    }

    private static func message(
        _ node: Node, _ schema: MessageSchema, _ path: String
    ) throws -> DynamicMessage {
        guard let mapping = node.mapping else {
            throw problem(path, node, "expected the fields of \(schema.name)")
        }
        var message = DynamicMessage()
        for (key, value) in mapping {
            let name = JSONMapping.snakeCase(key.scalar?.string ?? "")
            guard let shape = schema.shape(ofField: name) else {
                let known = schema.fieldNames.joined(separator: ", ")
                throw problem(path, key, "unknown field; \(schema.name) has \(known)")
            }
            if isNull(value) { continue }
            message[name] = try self.value(value, shape, path)
        }
        return message
    }

    /// Whether nothing is written there: `null`, `~`, or nothing at all; not the text "null".
    ///
    /// A field that is so is not populated, as in the protobuf JSON mapping.
    private static func isNull(_ node: Node) -> Bool {
        node.scalar != nil && node.tag == Tag(.null)
    }

    private static func value(
        _ node: Node, _ shape: FieldShape, _ path: String
    ) throws -> DynamicValue {
        if isNull(node) { throw problem(path, node, "expected \(shape.expectation)") }
        if case .list(let element) = shape {
            guard let sequence = node.sequence else { throw problem(path, node, "expected a list") }
            return .list(try sequence.map { try value($0, element, path) })
        }
        if case .message(let schema) = shape { return .message(try message(node, schema, path)) }
        guard let text = node.scalar?.string else {
            throw problem(path, node, "expected one value")
        }
        guard let value = shape.parse(text) else {
            throw problem(path, node, "expected \(shape.expectation)")
        }
        return value
    }

    private static func problem(_ path: String, _ node: Node, _ what: String) -> ValidationError {
        guard let mark = node.mark else { return ValidationError("\(path): \(what)") }
        return ValidationError("\(path):\(mark.line):\(mark.column): \(what)")
    }
}
