// That a reader is told of each change once, against a model of what it should know.

import Testing
import TriageBase

@testable import TriageClient

@Suite struct WatchMirrorTests {
    @Test func theWholeStateAgain_tellsOnlyWhatIsNew() {
        var mirror = WatchMirror()
        mirror.restarted()
        expect(mirror.changed("a", revision: 1))
        expect(mirror.changed("b", revision: 2))
        expect(mirror.caughtUp().isEmpty)
        expect(mirror.changed("c", revision: 3))
        expect(mirror.removed("b"))
        expect(!mirror.removed("b"))
        mirror.restarted()
        expect(!mirror.changed("a", revision: 1), "known as it is")
        expect(mirror.changed("d", revision: 5))
        expect(mirror.caughtUp() == ["c"], "it left while nobody watched")
        expect(!mirror.removed("c"))
        expect(mirror.caughtUp().isEmpty)
    }

    @Test func aRestartThatIsCutOff_beginsAgain() {
        var mirror = WatchMirror()
        mirror.restarted()
        expect(mirror.changed("a", revision: 1))
        _ = mirror.caughtUp()
        mirror.restarted()
        expect(mirror.changed("b", revision: 2))
        mirror.restarted()
        expect(!mirror.changed("b", revision: 2))
        expect(mirror.caughtUp() == ["a"])
    }

    @Test func whoResumesAtARevisionOfTheirs_isToldOfWhatLeft() {
        var mirror = WatchMirror()
        expect(mirror.removed("known to them"))
        expect(!mirror.removed("known to them"), "the same change again")
        expect(mirror.changed("known to them", revision: 9), "it came back")
        expect(mirror.caughtUp().isEmpty)
    }

    /// An assignment's end is sent like any change, and the whole state does not name it.
    @Test func whatHasEnded_isNotToldOfAgain() {
        var mirror = WatchMirror()
        mirror.restarted()
        expect(mirror.changed("a", revision: 1))
        expect(mirror.changed("b", revision: 1))
        expect(mirror.caughtUp().isEmpty)
        expect(mirror.changed("a", revision: 2, isOver: true))
        expect(!mirror.changed("a", revision: 2, isOver: true), "a part that is sent again")
        mirror.restarted()
        expect(mirror.caughtUp() == ["b"])
        mirror.restarted()
        expect(mirror.caughtUp().isEmpty)
    }

    /// A board that changes, and a reader whose stream breaks at any time, resumed or begun anew.
    @Test(arguments: 1...30) func anyBreak_losesAndRepeatsNothing(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var board: [String: Int64] = [:]
        var log: [(name: String, revision: Int64, isPresent: Bool)] = []
        var mirror = WatchMirror()
        mirror.restarted()
        var told: [String: Int64] = [:]
        var resumeAt: Int64 = 0
        var revision: Int64 = 0
        func tell(_ name: String, _ revision: Int64, _ isPresent: Bool) {
            if isPresent {
                guard mirror.changed(name, revision: revision) else { return }
                expect(told[name] != revision, "told twice")
                told[name] = revision
            } else if mirror.removed(name) {
                expect(told.removeValue(forKey: name) != nil, "it was not there")
            }
        }
        for _ in 0..<200 {
            for _ in 0..<random.next() % 5 {
                revision += 1
                let name = "n\(random.next() % 12)"
                let isPresent = random.next() % 3 > 0
                if !isPresent, board[name] == nil { continue }
                board[name] = isPresent ? revision : nil
                log.append((name, revision, isPresent))
            }
            if random.next() % 3 == 0 {
                mirror.restarted()
                let whole = board.sorted { $0.key < $1.key }
                let cut = random.next() % 2 == 0 ? whole.count : Int(random.next() % 12)
                for (name, revision) in whole.prefix(cut) { tell(name, revision, true) }
                guard cut >= whole.count else { continue }
                for name in mirror.caughtUp() { expect(told.removeValue(forKey: name) != nil) }
            } else if resumeAt > 0 {
                // A server may send again what it is not sure to have sent.
                let from = max(0, resumeAt - Int64(random.next() % 3))
                for change in log where change.revision > from {
                    guard board[change.name] == change.revision || !change.isPresent else {
                        continue
                    }
                    if !change.isPresent, board[change.name] != nil { continue }
                    tell(change.name, change.revision, change.isPresent)
                }
            } else {
                continue
            }
            resumeAt = revision
            expect(told == board)
        }
    }
}
