// Evidence as the run puts it into the vault, and what must come out of it again: an object that
// the state names is there, byte for byte, whatever happened; one that it does not name is gone.

import TestSupport
import TriageBase
import TriageCrypto
import TriageDomain
import TriageEngine
import TriageIO
import TriageJournal

/// Takes what the vault answers, as long as there is a machine to deliver it.
final class VaultMailroom: VaultSink {
    private let disk: SimDisk
    private let arrivals = Monitor<[(call: UInt64, reply: VaultReply)]>([])

    init(_ disk: SimDisk) { self.disk = disk }

    func deliver(_ call: UInt64, _ reply: VaultReply) {
        if disk.isOff { return }
        arrivals.change { $0.append((call, reply)) }
    }

    func take() -> [(call: UInt64, reply: VaultReply)] {
        arrivals.change { arrivals in
            defer { arrivals = [] }
            return arrivals
        }
    }
}

/// An object that is on its way into the vault.
struct Put {
    let bytes: [UInt8]
    let matter: CaseNumber
    let principal: Principal
    /// What is asked again with it; nil: it is for a request of its own.
    var repeated: Write?
    /// Bytes that were handed over.
    var done = 0
    /// Whether its end was asked for.
    var isFinished = false
    /// After so many bytes it is given up; nil: it is not.
    var givesUpAt: Int?
}

/// An object that is in the vault, for whoever refers to it.
struct Stored {
    let matter: CaseNumber
    let principal: Principal
    let object: AttachedObject
    /// What is asked again with it; nil: it is for a request of its own.
    let repeated: Write?
}

/// The objects that are being put in one life, and those that may be referred to.
final class Puts {
    private let vault: VaultWorker
    private let mailroom: VaultMailroom
    private let promises: Promises
    private let transcript: Transcript
    private var open: [UInt64: Put] = [:]
    private var next: UInt64 = 1
    private var ready: [Stored] = []

    init(_ vault: VaultWorker, _ disk: SimDisk, _ promises: Promises, _ transcript: Transcript) {
        self.vault = vault
        self.promises = promises
        self.transcript = transcript
        mailroom = VaultMailroom(disk)
        vault.connect(reactor: 0, sink: mailroom)
    }

    /// Whether an answer of the vault is awaited.
    var isBusy: Bool { !open.isEmpty }

    /// Begins to put an object.
    func begin(_ put: Put) {
        defer { next += 1 }
        open[next] = put
        vault.submit(.begin(size: put.bytes.count, put.principal), call: next, reactor: 0)
    }

    /// Begins to put the bytes of a request that is repeated.
    func begin(again write: Write) throws(Violation) {
        guard case .write(.attachEvidence(let matter, let attachment), _) = write.operation,
            let bytes = promises.content(of: attachment.object)
        else { throw Violation("what was attached was never stored") }
        begin(Put(bytes: bytes, matter: matter, principal: write.principal, repeated: write))
    }

    /// An object that nobody has referred to.
    func takeStored() -> Stored? { ready.popLast() }

    /// Goes on with what the vault has answered.
    ///
    /// - Returns: Whether anything arrived.
    func collect() throws(Violation) -> Bool {
        let arrivals = mailroom.take()
        for (call, reply) in arrivals { try goOn(call, reply) }
        return !arrivals.isEmpty
    }

    private func goOn(_ call: UInt64, _ reply: VaultReply) throws(Violation) {
        guard var put = open.removeValue(forKey: call) else { return }
        switch reply {
        case .ready:
            if let end = put.givesUpAt, put.done >= end {
                vault.submit(.cancel, call: call, reactor: 0)
                transcript.count("object given up")
                return
            }
            if put.done < put.bytes.count {
                let end = min(put.bytes.count, put.done + 30_000)
                vault.submit(
                    .append(Array(put.bytes[put.done..<end])), call: call, reactor: 0)
                put.done = end
            } else {
                put.isFinished = true
                vault.submit(.finish(expected: nil), call: call, reactor: 0)
            }
            open[call] = put
        case .stored(let name, let sha256):
            try require(put.isFinished, "an object was stored before its end")
            transcript.note("object \(call) stored")
            transcript.count("object stored")
            promises.stored(name, put.bytes)
            // Some have none.
            let caption = call % 4 == 0 ? "" : "what \(call) shows"
            ready.append(
                Stored(
                    matter: put.matter, principal: put.principal,
                    object: AttachedObject(
                        mediaType: "video/mp4", caption: caption, object: name, sha256: sha256,
                        size: put.bytes.count), repeated: put.repeated))
        case .failed(let failure):
            transcript.note("object \(call): \(failure)")
            transcript.count("object failed: \(failure)")
        case .opened, .chunk, .ended, .erased:
            throw Violation("a put was answered with \(reply)")
        }
    }
}

/// Reads an object whole.
func readObject(_ name: ObjectName, from vault: Vault) throws(JournalError) -> [UInt8] {
    var reader = try vault.read(name)
    var bytes: [UInt8] = []
    while try reader.next({ part in
        for index in part.indices { bytes.append(part[index]) }
    }) {}
    return bytes
}

extension Promises {
    /// Checks the vault of a disk against the objects that a state names, as a start finds and
    /// leaves it.
    ///
    /// - Parameters:
    ///   - disk: Changed as a start does.
    ///   - plan: How to open it.
    ///   - world: The state.
    /// - Throws: ``Violation`` when one is missing or has other bytes, or one too many is there.
    func judgeVault(
        _ disk: SimDisk, _ plan: borrowing Plan, _ world: borrowing World
    ) throws(Violation) {
        let named = world.storedObjects
        let time = world.counters.time
        do {
            let directory = try DataDirectory(
                opening: Plan.directory, disk: disk, options: plan.storage, keys: plan.keys)
            guard let vault = try directory.openVault() else { return }
            let erased = world.erasedObjects
            let report = try vault.reconcile(
                stored: named, erased: erased, time: time, stateTime: time)
            try require(report.missing.isEmpty, "evidence is gone: \(report.missing)")
            try require(report.damagedSlots == 0, "slots of the vault do not verify")
            transcriptCount("object destroyed", report.removed.count)
            transcriptCount("orphan set aside", report.setAside.count)
            transcriptCount("torn slot", report.tornSlots)
            let names = named.sorted { $0.description < $1.description }
            try require(vault.names == names, "the vault holds what nothing refers to")
            for name in names {
                let bytes = try readObject(name, from: vault)
                try require(bytes == content(of: name), "object \(name) has other bytes")
                transcriptCount("object read back", 1)
            }
            // What is aside goes when its time is over, wherever the clock stood.
            let later = time.advanced(byMilliseconds: 12 * Limits.objectAsideMilliseconds)
            let last = try vault.reconcile(
                stored: named, erased: erased, time: later, stateTime: later)
            try require(
                last.removed.count == report.setAside.count + report.aside
                    && !disk.fileNames.contains { $0.hasSuffix(".aside") },
                "of \(report) there is more left than \(last)")
        } catch let violation as Violation {
            throw violation
        } catch {
            throw Violation("the vault that a crash left cannot be used: \(error)")
        }
    }

    /// Checks that damage to a vault shows as damage, never as other bytes.
    func judgeDamagedVault(
        _ disk: SimDisk, _ plan: borrowing Plan, _ named: Set<ObjectName>
    ) throws(Violation) {
        do {
            let directory = try DataDirectory(
                opening: Plan.directory, disk: disk, options: plan.storage, keys: plan.keys)
            guard let vault = try directory.openVault() else { return }
            for name in named {
                let bytes: [UInt8]
                do throws(JournalError) { bytes = try readObject(name, from: vault) } catch {
                    transcriptCount("damaged object refused", 1)
                    continue
                }
                try require(bytes == content(of: name), "a damaged object has other bytes")
            }
        } catch let violation as Violation {
            throw violation
        } catch {
            transcriptCount("damaged vault refused", 1)
        }
    }
}
