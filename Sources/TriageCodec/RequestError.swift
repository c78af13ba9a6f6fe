// Why a request is refused before any rule sees it, and the collector of everything that is wrong
// with one message. Descriptions say what would be right and never repeat what was sent.

internal import TriageBase

/// One field of a request that is wrong.
package struct FieldProblem: Equatable, Sendable {
    /// Path of the field, as in `report.signals[2].label`.
    package var field: String
    /// What would be right; never the value that was sent.
    package var description: String

    package init(field: String, description: String) {
        self.field = field
        self.description = description
    }
}

/// Why a request is refused in form.
package enum RequestError: Error, Equatable, Sendable {
    /// The bytes are not a message of the method's type, or go beyond a bound.
    case malformed(MessageFault)
    /// The message breaks constraints of its fields: all of them, up to
    /// ``Limits/fieldProblemsMax``.
    case invalid([FieldProblem])
}

/// Collects the problems of one message.
struct Form {
    private(set) var problems: [FieldProblem] = []

    /// Notes a problem; the path is built only now.
    @inline(never)
    mutating func refuse(_ field: () -> String, _ description: String) {
        guard problems.count < Limits.fieldProblemsMax else { return }
        problems.append(FieldProblem(field: field(), description: description))
    }

    /// Gives the value when nothing was wrong.
    ///
    /// - Throws: ``RequestError/invalid(_:)`` with everything noted.
    @inline(__always)
    func finish<T>(_ value: T) throws(RequestError) -> T {
        if !problems.isEmpty { throw .invalid(problems) }
        return value
    }
}
