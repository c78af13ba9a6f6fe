// Where paths lead to: links, dots, doubled slashes, and what is not there yet.

import Foundation
import TestSupport
import Testing
import TriageIO

@Suite struct ResolvedPathTests {
    private let directory: TempDirectory

    init() throws {
        directory = try TempDirectory()
        let files = FileManager.default
        try files.createDirectory(
            atPath: directory.path + "/data", withIntermediateDirectories: true)
        try files.createSymbolicLink(
            atPath: directory.path + "/link", withDestinationPath: directory.path + "/data")
    }

    @Test(arguments: [
        "/data", "/data/", "/data//old", "/./data/old", "/link", "/link/old", "/other/../data",
        "/data/old/../new", "/link/a/b/../../c",
    ])
    func isInside(path: String) {
        let data = ResolvedPath(directory.path + "/data")
        #expect(data.contains(ResolvedPath(directory.path + path)))
        #expect(ResolvedPath(directory.path + "/link/").contains(data))
    }

    @Test(arguments: [
        "", "/", "/database", "/data/..", "/data/../old", "/other/data", "/link/../x",
    ])
    func isOutside(path: String) {
        let data = ResolvedPath(directory.path + "/data")
        #expect(!data.contains(ResolvedPath(directory.path + path)))
    }

    @Test func aRelativePath_isOfTheWorkingDirectory() {
        let here = FileManager.default.currentDirectoryPath
        #expect(ResolvedPath("") == ResolvedPath(here) && ResolvedPath(".") == ResolvedPath(here))
        #expect(ResolvedPath("not/there") == ResolvedPath(here + "/not/there"))
        #expect(ResolvedPath("/").contains(ResolvedPath("not")))
        #expect(ResolvedPath("/no/such/../x") == ResolvedPath("/no/x"))
    }
}
