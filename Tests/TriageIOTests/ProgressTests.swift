// The line that says how far something is: its numbers, at the ends too.

import TestSupport
import Testing
import TriageBase
import TriageIO

@Suite struct ProgressTests {
    @Test func theLineTellsShareRateAndWhatIsLeft() {
        #expect(
            ProgressBar.line("copying", 300 << 20, of: 1200 << 20, nanoseconds: 2_000_000_000)
                == "copying [#######-----------------------] 25 %  300.0 MiB of 1.1 GiB  "
                + "150.0 MiB/s  0:06 left")
        #expect(
            ProgressBar.line("verifying", 7, of: 7, .segments, nanoseconds: 2_000_000_000)
                == "verifying [##############################] 100 %  7 segments of 7 segments  "
                + "3 segments/s")
    }

    @Test func nothingIsDividedByNothing() {
        #expect(
            ProgressBar.line("copying", 0, of: 0, nanoseconds: 0)
                == "copying [##############################] 100 %  0 KiB of 0 KiB")
        #expect(
            ProgressBar.line("copying", 0, of: 2000, nanoseconds: 5)
                == "copying [------------------------------] 0 %  0 KiB of 2 KiB")
    }

    @Test func hoursAreShown() {
        #expect(
            ProgressBar.line("copying", 1 << 20, of: 4001 << 20, nanoseconds: 1_000_000_000)
                .hasSuffix("  1:06:40 left"))
    }

    @Test func aFileIsCopiedAsFarAsItIsAskedFor() throws {
        let directory = try TempDirectory()
        let disk = RealDisk()
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let file = try disk.open(directory.path + "/a", .create)
        try file.write(bytes.span, at: 0)
        var copying = FileCopy(disk)
        var counted = 0
        try copying.copy(directory.path + "/a", to: directory.path + "/b") { counted += $0 }
        try copying.copy(directory.path + "/a", to: directory.path + "/c", count: 1_500_001)
        #expect(counted == bytes.count)
        for (name, count) in [("b", bytes.count), ("c", 1_500_001)] {
            let copy = try disk.open(directory.path + "/" + name, .read)
            var read = [UInt8](repeating: 0, count: bytes.count + 1)
            var span = read.mutableSpan
            #expect(try copy.read(into: &span, at: 0) == count)
            #expect(read[..<count] == bytes[..<count])
        }
        #expect(throws: IOError.self) {
            try copying.copy(
                directory.path + "/a", to: directory.path + "/d", count: bytes.count + 1)
        }
        #expect(try disk.list(directory.path).map(\.name) == ["a", "b", "c", "d.tmp"])
    }
}
