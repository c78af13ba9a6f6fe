// libFuzzer's door to the targets; built by Deploy/fuzz only. Which target is named by
// TRIAGED_FUZZ_TARGET, so that one build serves all.

import Glibc

private let target: FuzzTarget = {
    let name = unsafe getenv("TRIAGED_FUZZ_TARGET").map { unsafe String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        fatalError("TRIAGED_FUZZ_TARGET must name one of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target
}()

/// Runs one input of libFuzzer; its C name is fixed.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    target.run(unsafe Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}
