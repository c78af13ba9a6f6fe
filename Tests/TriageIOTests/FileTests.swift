// Files and directories on the real file system: what was written comes back, and what fails says
// so.

import TestSupport
import Testing
import TriageBase
import TriageIO

@Suite struct FileTests {
    @Test(arguments: [FileAccess.create, .createDirect, .ensure])
    func whatIsWrittenIsRead(access: FileAccess) throws {
        let directory = try TempDirectory()
        let path = directory.file("file")
        do {
            let file = try FileHandle(path: path, access: access)
            var pages = PageBuffer(capacity: 8192)
            pages.copy([1, 2, 3].span, to: 4096)
            try file.write(pages.span(0..<8192), at: 0)
            try file.sync()
            #expect(try file.size() == 8192)
        }
        let file = try FileHandle(path: path, access: .read)
        var bytes = [UInt8](repeating: 9, count: 6000)
        var span = bytes.mutableSpan
        #expect(try file.read(into: &span, at: 4095) == 4097)
        #expect(bytes[0...4] == [0, 1, 2, 3, 0])
        #expect(bytes[4097] == 9, "bytes behind the end are left alone")
    }

    @Test func aMissingFileIsAnErrorWithItsPath() {
        #expect(throws: IOError(.open, path: "/nowhere/file", .notFound)) {
            _ = try FileHandle(path: "/nowhere/file", access: .read)
        }
    }

    @Test func writingToAFileOpenedForReadingFails() throws {
        let directory = try TempDirectory()
        let path = directory.file("file")
        _ = try FileHandle(path: path, access: .create)
        let file = try FileHandle(path: path, access: .read)
        #expect {
            try file.write([1].span, at: 0)
        } throws: { ($0 as? IOError)?.operation == .write }
    }

    @Test func aFullDeviceIsNoSpace() throws {
        let full = try FileHandle(path: "/dev/full", access: .update)
        #expect(throws: IOError(.write, path: "/dev/full", .noSpace)) {
            try full.write([1].span, at: 0)
        }
    }

    @Test func allocatingMakesTheFileThatLong() throws {
        let directory = try TempDirectory()
        let file = try FileHandle(path: directory.file("file"), access: .create)
        try file.allocate(100_000)
        #expect(try file.size() == 100_000)
    }

    @Test func namesAreListedInOrderRenamedAndRemoved() throws {
        let directory = try TempDirectory()
        for name in ["b", "a", "ä"] {
            _ = try FileHandle(path: directory.file(name), access: .create)
        }
        try Directory.make(directory.file("c"))
        try Directory.make(directory.file("c"))
        #expect(try Directory.list(directory.path).map(\.name) == ["a", "b", "c", "ä"])
        #expect(
            try Directory.list(directory.path).map(\.isDirectory) == [false, false, true, false])
        try Directory.rename(directory.file("a"), to: directory.file("b"))
        try Directory.remove(directory.file("ä"))
        try Directory.sync(directory.path)
        #expect(try Directory.list(directory.path).map(\.name) == ["b", "c"])
        #expect(throws: IOError(.makeDirectory, path: directory.file("b"), .notDirectory)) {
            try Directory.make(directory.file("b"))
        }
        #expect(throws: IOError(.list, path: directory.file("x"), .notFound)) {
            _ = try Directory.list(directory.file("x"))
        }
    }

    @Test func aLockIsHeldUntilItIsDropped() throws {
        let directory = try TempDirectory()
        let disk = RealDisk()
        let path = directory.file("lock")
        var first: LockOutcome? = try disk.lock(path)
        guard case .acquired = first else { throw IOError(.lock, path: path, .wouldBlock) }
        guard case .held(let processID) = try disk.lock(path) else {
            Issue.record("locked twice")
            return
        }
        #expect(processID != nil)
        first = nil
        guard case .acquired = try disk.lock(path) else {
            Issue.record("still locked")
            return
        }
    }

    @Test func aPageBufferKeepsWhatItHoldsWhenItGrows() {
        var buffer = PageBuffer(capacity: 1)
        #expect(buffer.capacity == 4096)
        buffer.store(UInt32(0x0403_0201), at: 1)
        buffer.store(UInt64(0x0807_0605_0403_0201), at: 4088)
        buffer.grow(to: 10_000, keeping: 4096)
        #expect(buffer.capacity == 12288)
        let copy = [UInt8](copying: buffer.span(0..<12288))
        let bytes = copy.span
        #expect(bytes[0] == 0)
        #expect((1...4).map { bytes[$0] } == [1, 2, 3, 4])
        #expect(bytes.loadUInt32(at: 1) == 0x0403_0201)
        #expect(bytes.loadUInt64(at: 4088) == 0x0807_0605_0403_0201)
        let rest = bytes.extracting(4096..<12288).isZero
        #expect(rest)
        let zeros = bytes.zeroPrefixCount
        #expect(zeros == 1)
        buffer.move(from: 1, to: 0, count: 4)
        let count = buffer.fill(at: 100, count: 10) { output in
            output.append(7)
            output.append(8)
        }
        #expect(count == 2)
        let moved = buffer.span(0..<4).loadUInt32(at: 0)
        #expect(moved == 0x0403_0201)
        let filled = buffer.span(100..<102)[1]
        #expect(filled == 8)
    }

    @Test func everyZeroPrefixIsCounted() {
        for position in 0..<40 {
            var bytes = [UInt8](repeating: 0, count: 40)
            bytes[position] = 1
            let count = bytes.span.zeroPrefixCount
            #expect(count == position)
            let zero = bytes.span.isZero
            #expect(!zero)
        }
        let zeros = [UInt8](repeating: 0, count: 40)
        let nothing: [UInt8] = []
        let zero = (zeros.span.isZero, nothing.span.isZero)
        #expect(zero.0)
        #expect(zero.1)
    }

    @Test func aTaskThreadRunsEverythingInOrderBeforeItStops() throws {
        let order = Monitor<[Int]>([])
        let thread = try TaskThread(name: "test")
        for index in 0..<1000 { thread.submit { order.change { $0.append(index) } } }
        thread.stop()
        thread.submit { order.change { $0.append(-1) } }
        #expect(order.change { $0 } == Array(0..<1000))
    }

    @Test func aMonitorWakesWhoWaits() throws {
        let monitor = Monitor(0)
        let thread = try TaskThread(name: "test")
        thread.submit {
            for _ in 0..<100 { monitor.change { $0 += 1 } }
        }
        #expect(monitor.wait { $0 == 100 ? "all" : nil } == "all")
        thread.stop()
    }
}
