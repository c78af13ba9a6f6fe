// Expectations about values that are changed while they are looked at, which the macros of the
// testing library do not take.

import Testing

/// Expects a condition, whose evaluation may change what it is about.
func expect(
    _ condition: Bool, _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(condition, comment, sourceLocation: sourceLocation)
}

/// A value that has to be there.
func require<Value>(
    _ value: Value?, sourceLocation: SourceLocation = #_sourceLocation
) throws -> Value {
    try #require(value, sourceLocation: sourceLocation)
}
