// The limit of descriptors, read back from the system.

import Glibc
import Testing
import TriageIO

@Suite struct DescriptorsTests {
    @Test func theProcess_mayHaveAsManyAsItsHardLimitAllows() throws {
        let count = Descriptors.raiseLimit()
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        try #require(unsafe getrlimit(resource, &limit) == 0)
        #expect(count == Int(clamping: limit.rlim_max))
        #expect(limit.rlim_cur == limit.rlim_max)
    }
}
