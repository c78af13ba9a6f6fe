// Why bytes that we wrote ourselves cannot be read: they are damaged, or a later version wrote
// them.

internal import TriageBase

/// Why stored bytes cannot be read.
///
/// Nothing was changed.
package enum CodecError: Error, Equatable, Sendable {
    /// The bytes are not a message of the expected type.
    case wire(MessageFault)
    /// A part that is always written is not there; names the message and field.
    case missing(String)
    /// A number that this version does not know, or that is out of its range; names the message and
    /// field.
    case outOfRange(String)
    /// A part was erased that the state cannot do without; names the message and field.
    case erased(String)
    /// A snapshot record is not where it belongs.
    case outOfOrder(String)
    /// The state that the records make contradicts itself; says where.
    case refused(String)
}
