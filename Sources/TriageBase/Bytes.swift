// Copying borrowed bytes into owned ones, which the standard library of Swift 6.3 offers only
// through pointers. Knows nothing of what the bytes mean.

extension [UInt8] {
    /// Copies borrowed bytes.
    ///
    /// - Complexity: O(count); one allocation.
    package init(copying bytes: Span<UInt8>) {
        self.init()
        append(copying: bytes)
    }

    /// Appends a copy of borrowed bytes.
    ///
    /// The counted loop over two spans is what the optimiser turns into a vector copy; element-wise
    /// appending costs half as much again.
    ///
    /// - Complexity: O(count) amortised.
    package mutating func append(copying bytes: Span<UInt8>) {
        // Appending nothing would write to the empty array that all threads share.
        if bytes.isEmpty { return }
        append(addingCapacity: bytes.count) { output in
            let start = output.count
            output.append(repeating: 0, count: bytes.count)
            var target = output.mutableSpan
            for index in bytes.indices { target[start &+ index] = bytes[index] }
        }
    }
}

/// Compares borrowed bytes with owned ones, byte for byte.
package func equal(_ bytes: Span<UInt8>, _ other: [UInt8]) -> Bool {
    guard bytes.count == other.count else { return false }
    // No early exit: the loop then compares many bytes at a time.
    let other = other.span
    var difference: UInt8 = 0
    for index in bytes.indices { difference |= bytes[index] ^ other[index] }
    return difference == 0
}
