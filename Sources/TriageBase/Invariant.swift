// Our own broken promises. A caller's mistake is a typed error and never comes here.

/// Stops the process when one of our own invariants does not hold, in every build.
///
/// The condition is always evaluated; it must have no side effect that anything relies on.
///
/// - Precondition: `condition` is true; otherwise the process traps with `message`.
@inline(__always)
package func invariant(
    _ condition: Bool, _ message: @autoclosure () -> String, file: StaticString = #fileID,
    line: UInt = #line
) {
    guard condition else { fatalError("invariant broken: \(message())", file: file, line: line) }
}
