// What stands where words were that had to be forgotten.

/// Words that were erased from the record that brought them.
package enum Erased {
    /// A text that was erased: people see that there was one, which an empty text would hide.
    package static let text = "[erased]"
}
