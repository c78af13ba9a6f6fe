// Checksums against published vectors, and the processor's code against the portable one.

import Testing
import TriageBase
import TriageIO

@Suite struct ChecksumTests {
    @Test func crcOfTheCheckStringIsThePublishedOne() {
        let bytes = Array("123456789".utf8)
        #expect(crc32c(bytes.span) == 0xE306_9283)
        #expect(crc32cPortable(bytes.span) == 0xE306_9283)
    }
}
