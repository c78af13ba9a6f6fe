// What the journal's tests ask the system: apart, because the test macros do not go with Glibc in
// one file.

import Glibc

/// The id of the process that runs the tests.
func thisProcess() -> Int32 { getpid() }
