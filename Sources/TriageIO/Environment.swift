// The process's environment variables.

import Glibc

/// Looks up environment variables.
package enum Environment {
    /// The value of a variable; nil when it is not set or not UTF-8.
    ///
    /// Source: getenv(3). Nothing writes the environment while there are other threads.
    package static func value(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(validatingCString: value)
    }
}
