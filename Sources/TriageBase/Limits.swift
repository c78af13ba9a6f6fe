// Every bound in the system that is not configuration, each with its reason. A module that needs a
// bound takes it from here, so that the relations between bounds can be checked in one place.

/// Bounds of the wire, of messages, of state and of time.
///
/// Figures and their sources: shared design `wire.md` "Attacks" unless a comment says otherwise.
package enum Limits {
    // MARK: Messages

    /// Largest gRPC message accepted, after decompression.
    ///
    /// Reports carry references, not media.
    package static let messageBytesMax = 1 << 20
    /// Bytes that a gzip message may unpack to for each that it has.
    ///
    /// What Envoy calls a security release is 100x; honest text packs 5 to 20 times.
    package static let inflateRatioMax = 100
    /// Up to this many bytes a message may unpack to at any ratio: small and repetitive is usual.
    package static let inflateRatioFreeBytes = 32 << 10
    /// Replies from this size on are compressed for clients that accept it.
    ///
    /// Below it a reply fits a few packets anyway, and zlib's start (10 to 20 us on the thread that
    /// answers calls) costs more than the bytes.
    package static let compressedReplyBytesMin = 16 << 10
    /// Fields in one message, nested ones included; bounds protobuf-c's 28-fold amplification of
    /// tiny fields.
    package static let messageFieldsMax = 10_000
    /// Message nesting.
    ///
    /// The schema has no recursive type; this bounds what a forged message may pretend.
    package static let messageDepthMax = 32
    /// Assembled request bodies of all connections together, in bytes; above it RESOURCE_EXHAUSTED.
    package static let messageBytesInFlightMax = 64 << 20
    /// Of a reactor's part of them one identity may hold the fourth part, and two messages in any
    /// case: whoever does not read its replies uses up its own room, not its neighbours'.
    package static let identitiesThatFillMemory = 4
    /// A reply up to this many bytes is never refused for want of room: receipts of writes are.
    package static let smallReplyBytesMax = 4 << 10

    /// Bytes of one message in fields that this version does not know; they are skipped, never
    /// kept.
    package static let messageUnknownBytesMax = 64 << 10
    /// Field problems reported of one message; the rest would not fit the trailers.
    package static let fieldProblemsMax = 64
    /// Values in each part of a list's or watch's filter.
    package static let filterValuesMax = 100
    /// Memory that a codec's arena keeps between messages; a larger one is given back.
    package static let arenaRetainedBytesMax = 256 << 10

    // MARK: Metadata

    /// Decoded header list, 32 bytes counted a field (RFC 9113 §6.5.2).
    ///
    /// Announced and enforced.
    package static let headerListBytesMax = 16 << 10
    /// Fields in one header list; cures HPACK bombs that stay small in bytes.
    package static let headerFieldsMax = 100
    /// Our own trailers stay below what the smallest client accepts (8 KiB soft limit of gRPC).
    package static let trailerBytesMax = 7 << 10
    /// `grpc-status-details-bin` before base64, so that trailers stay in bounds.
    package static let statusDetailsBytesMax = 4 << 10

    // MARK: Connections

    /// Concurrent streams a connection.
    package static let concurrentStreamsMax = 100
    /// Of which long-lived (watches), so that they cannot starve calls.
    package static let longLivedStreamsMax = 20
    /// Connections a server.
    package static let connectionsMax = 2_048
    /// Descriptors kept for everything else: listeners and loops of up to 64 reactors, the admin
    /// port, evidence, backups, and the files of the journal and its snapshots.
    package static let descriptorsReserved = 512
    /// As few connections are served whatever descriptors there are; then accepting has to wait.
    package static let connectionsMin = 64
    /// Connections of one identity.
    package static let connectionsPerIdentityMax = 64
    /// Connections whose handshake is not complete: each costs a TLS session of about 40 KiB.
    package static let unidentifiedConnectionsMax = 100
    /// Connections of a door whose peers have shown no certificate, where none is needed: probes.
    package static let strangersPerDoorMax = 32
    /// Bytes held for a connection without a certificate: all that it may ask is its health.
    package static let strangerBytesMax = 64 << 10
    /// When there are too many handshakes: one that began so long ago loses its place
    /// to the next connection.
    package static let handshakePatienceMilliseconds: Int64 = 1_000
    /// Connections that may wait for each reactor to accept them; beyond it the kernel drops
    /// handshakes, and clients try again.
    package static let acceptQueueMax: Int32 = 1_024
    /// Connections accepted in a turn: about 3 ms of set-up.
    package static let acceptsPerTurnMax = 32
    /// TLS handshake steps (up to 1 ms of CPU each) in a turn: with two, 200 reconnects a second
    /// moved the p99 of other connections' calls by 2.3 times.
    package static let handshakeStepsPerTurnMax = 1
    /// After a reload the certificates of all open connections are judged anew within this: 0.2 ms
    /// each, spread over the turns, so that 2,048 take a fifth of a reactor's time for so long.
    package static let recheckMillisecondsMax: Int64 = 2_000
    /// TLS sessions that a door keeps for resumption; the oldest goes first.
    package static let sessionsKeptMax = 4 * connectionsMax
    /// Of which for one identity: each handshake adds one, and a client that reconnects in a loop
    /// pushes out its own, not the others' before they come back.
    package static let sessionsPerIdentityMax = 2 * connectionsPerIdentityMax
    /// Bytes of a peer's certificates that are kept with its session, which can be resumed then:
    /// a leaf and ``certificateIntermediatesMax`` more have 1 to 2 KiB each.
    ///
    /// Decoded they are some four times as much, of which an identity may thus hold 4 MiB a door.
    package static let sessionChainBytesMax = 8 << 10
    /// Plaintext that waits for the socket, a connection; above it the socket is not read.
    package static let outputBytesMax = 256 << 10
    /// Client resets: burst and refill a second, then GOAWAY ENHANCE_YOUR_CALM (CVE-2023-44487).
    package static let resetBurst = 500
    /// See ``resetBurst``.
    package static let resetsPerSecond = 50
    /// Protocol errors or resets that a peer provokes in a minute (CVE-2025-8671).
    package static let provokedResetsPerMinute = 200
    /// CONTINUATION frames of one header block (CVE-2024-27316); nghttp2 and Go take 8 as well.
    package static let continuationsMax = 8
    /// How many times over its limits a header block is still decoded, so that it can be answered
    /// on its stream; further over, the connection ends.
    package static let headerExcessMax = 4
    /// Each side's dynamic table of header compression, bytes: the protocol's default.
    package static let headerTableBytes = 4_096
    /// SETTINGS frames a minute, first burst included (CVE-2019-9515); clients send one.
    package static let settingsPerMinute = 100
    /// Entries of one SETTINGS frame; the protocol knows nine.
    package static let settingsEntriesMax = 32
    /// Answers to PING and SETTINGS that wait in the session (CVE-2019-9512).
    package static let queuedAnswersMax = 128
    /// DATA frames in a row without content that end no stream (CVE-2019-9518); padding is none.
    package static let emptyFramesMax = 10
    /// PRIORITY frames for each stream and one more (CVE-2019-9513); Envoy's formula.
    package static let prioritiesPerStream = 100
    /// WINDOW_UPDATE frames: so many at first, so many a stream, and that many a stream for each
    /// DATA frame that we sent; Envoy's formula `5 + 2 x (streams + 10 x DATA)`.
    package static let windowUpdatesFree = 5
    /// See ``windowUpdatesFree``.
    package static let windowUpdatesPerStream = 2
    /// See ``windowUpdatesFree``.
    package static let windowUpdatesPerDataFrame = 20
    /// KeyUpdate messages of one connection, each of which costs key derivations; BoringSSL's
    /// limit.
    package static let keyUpdatesMax = 32
    /// Receive window of a stream, bytes: one message of the largest size needs no round trip.
    package static let streamWindowBytes = 1 << 20
    /// Receive window of a connection, bytes: what its streams may have on their way together.
    package static let connectionWindowBytes = 4 << 20
    /// New calls of one connection in a loop turn; the rest wait for the next turn.
    package static let newCallsPerTurnMax = 32
    /// Bytes that the compressed messages of one identity may unpack to in a turn.
    ///
    /// Some 10 ms of work, for which others' calls wait. The message that reaches it is the last.
    package static let inflatedBytesPerTurnMax = 4 << 20
    /// Calls a second of one identity on one reactor: about half of what one can answer.
    ///
    /// Reports of emergencies cost nothing: they are never refused for their number.
    package static let callsPerSecondPerIdentity = 100_000
    /// Calls at once of an identity that was quiet.
    package static let callBurstPerIdentity = 100_000
    /// Reads of whole pages that the engine has at once from one reactor: a report waits for those
    /// at most, a few milliseconds.
    package static let bulkReadsInFlightMax = 4
    /// What a read of a whole page or board costs, in calls: a hundred of them a second.
    package static let bulkReadCost = 1_000
    /// Intermediates between a peer's leaf and a trusted root: the root is at depth 3 at most.
    package static let certificateIntermediatesMax: Int32 = 2
    /// Bytes of a peer's certificate chain; OpenSSL's default is 100 KiB.
    package static let certificateChainBytesMax = 32 << 10
    /// TLS handshake, from accept.
    package static let handshakeMillisecondsMax: Int64 = 10_000
    /// HTTP/2 preface and SETTINGS, after the handshake.
    package static let prefaceMillisecondsMax: Int64 = 5_000
    /// A header block, from the first look at it to its end: nghttp2 never gives up on one.
    package static let headerBlockMillisecondsMax: Int64 = 10_000
    /// A connection with no stream.
    package static let idleMillisecondsMax: Int64 = 300_000
    /// Silence of a peer that has streams open, after which it is asked for a sign of life.
    ///
    /// gRPC's own servers wait two hours; a specialist's watch must not stay dark that long.
    package static let keepaliveMilliseconds: Int64 = 60_000
    /// How long the answer may take; gRPC's default.
    package static let keepaliveTimeoutMilliseconds: Int64 = 20_000
    /// A connection, from its handshake, give or take a tenth: clients find new servers, and show
    /// their certificates again.
    package static let ageMillisecondsMax: Int64 = 3_600_000
    /// Calls still open when a connection has reached its age: as long as a unary call may take.
    package static let ageGraceMilliseconds = unaryMillisecondsMax
    /// PING frames at once, and one more for each ``pingMillisecondsEach`` (CVE-2019-9512).
    package static let pingBurst = 10
    /// See ``pingBurst``.
    package static let pingMillisecondsEach: Int64 = 10_000
    /// A unary call, whatever its deadline; and the request of any other call until it is there.
    package static let unaryMillisecondsMax: Int64 = 60_000
    /// No progress of a stream that has bytes to send.
    package static let stalledStreamMillisecondsMax: Int64 = 30_000
    /// A socket that takes nothing of what waits for it.
    package static let stalledSocketMillisecondsMax: Int64 = 60_000
    /// Calls still open when a drain began: this long, then RST_STREAM.
    package static let drainMillisecondsMax: Int64 = 10_000
    /// A connection that we ended and whose output does not move, or whose peer does not close its
    /// side: who reads has read our last words by then.
    package static let lingerMilliseconds: Int64 = 2_000
    /// A connection that we ended and whose output moves.
    ///
    /// What may wait by then takes that long at 1 Mbit/s. It adds to the drain and to a revocation,
    /// which must be over within 10 s.
    package static let farewellMilliseconds: Int64 = 5_000
    /// Connections of the admin port at once: a few probes and scrapes.
    package static let adminConnectionsMax = 32
    /// One request of the admin port, bytes.
    package static let adminRequestBytesMax = 8 << 10
    /// A connection of the admin port, which has one request.
    package static let adminMillisecondsMax: Int64 = 5_000

    // MARK: Client

    /// A client's connections to one address: each may have as many calls as the server allows.
    package static let clientConnectionsMax = 8
    /// A client's connection, give or take a tenth: it finds new servers and shows a renewed
    /// certificate.
    ///
    /// Less than a server of ours lets it live, so that the client chooses when.
    package static let clientAgeMilliseconds: Int64 = 1_800_000
    /// A client without calls closes its connections: before a server of ours would.
    package static let clientIdleMilliseconds: Int64 = 240_000
    /// TCP, TLS and SETTINGS together.
    ///
    /// Source: gRPC `doc/connection-backoff.md`, MIN_CONNECT_TIMEOUT.
    package static let connectMillisecondsMax: Int64 = 20_000
    /// Pause before an address that could not be connected to is tried again, and how it grows.
    ///
    /// Source: gRPC `doc/connection-backoff.md`.
    package static let connectBackoffMilliseconds: Int64 = 1_000
    /// See ``connectBackoffMilliseconds``.
    package static let connectBackoffMillisecondsMax: Int64 = 120_000
    /// See ``connectBackoffMilliseconds``.
    package static let connectBackoffMultiplier = 1.6
    /// Time before the next address is tried while one has not answered.
    ///
    /// Source: RFC 8305 §8, Connection Attempt Delay.
    package static let connectRaceMilliseconds: Int64 = 250
    /// Names are looked up again after a failure, but not more often than this.
    package static let resolveMilliseconds: Int64 = 5_000
    /// A client's call without a deadline of its own, unless the server streams: as long as a
    /// server of ours lets it live.
    package static let clientCallMilliseconds = unaryMillisecondsMax
    /// Request messages that a call keeps for another attempt; with more it is tried once.
    package static let replayBytesMax = messageBytesMax
    /// Request messages of a call that may wait to be sent before who writes them has to wait.
    package static let unsentBytesMax = 64 << 10
    /// Replies of a call that may wait for who reads them before the server is held back.
    package static let unreadRepliesMax = 16
    /// See ``unreadRepliesMax``, bytes.
    package static let unreadBytesMax = 256 << 10
    /// Attempts of a call that no server began with, because it was refused: more than two ends of
    /// connections in a row are no accident.
    package static let refusedAttemptsMax = 3

    // MARK: Domain

    /// Reports kept in one case; further ones are counted and refused with RESOURCE_EXHAUSTED.
    package static let reportsPerCaseMax = 10_000
    /// Reports of one SubmitReports call, so that its reply stays below what the smallest client
    /// accepts.
    package static let reportsPerStreamMax = 10_000
    /// Reopenings that a case remembers; older ones are in the journal.
    package static let reopeningsPerCaseMax = 64
    /// Verification steps of one disclosure request: there are six methods, and what so many steps
    /// have not verified is to be rejected.
    package static let verificationsPerDisclosureMax = 64
    /// People who file, verify or scope one disclosure request.
    ///
    /// All of them are remembered, because none of them may approve it.
    package static let participantsPerDisclosureMax = 64
    /// Page size of lists: default and cap (AIP-158).
    package static let pageSizeDefault = 50
    /// See ``pageSizeDefault``.
    package static let pageSizeMax = 1_000
    /// Objects of evidence of a case, erased ones included: a page of them fits a screen, and a
    /// matter that has more is several.
    package static let evidencePerCaseMax = 256
    /// Bytes of one message of an upload: half of what a message may have.
    package static let evidenceChunkBytesMax = 512 << 10
    /// Objects that are being put or read at once: each holds a chunk, a message and a file.
    package static let evidenceStreamsMax = 16
    /// Of which for one identity: three more get in beside whoever takes all that it may.
    package static let evidenceStreamsPerIdentityMax = evidenceStreamsMax / 4
    /// Files that are read for backups at once: each holds a file and a chunk, and they share one
    /// thread.
    package static let backupStreamsMax = 8
    /// Of which for one identity: whoever reads several files at a time leaves room for another.
    package static let backupStreamsPerIdentityMax = backupStreamsMax / 2
    /// Holds of a case, ended ones included.
    package static let holdsPerCaseMax = 64
    /// The furthest end of a hold: ten years; what is needed longer is looked at again.
    package static let holdMillisecondsMax: Int64 = 3_653 * 24 * 3_600_000
    /// How long a request id is remembered.
    package static let requestIDMilliseconds: Int64 = 24 * 3_600_000
    /// A claim's long poll.
    package static let claimWaitMillisecondsMax: Int64 = 55_000
    /// Revisions of the board kept for resuming watches.
    package static let boardRingCount = 65_536
    /// Bytes that the engine keeps for the board watches of one identity: which cases each has.
    ///
    /// At a million cases some 130 that catch up, that nobody reads or that have a filter of their
    /// own, and as many as it wants of those that go together. What is on its way to them is in
    /// the share of who reads it.
    package static let watchBytesPerIdentityMax = 32 << 20

    // MARK: Storage

    /// Journal bytes that may wait for the disk; above it writes are refused with
    /// RESOURCE_EXHAUSTED.
    ///
    /// Of the second half each identity may have the part of ``identitiesThatFillMemory``: whoever
    /// reports faster than the disk takes it leaves room for the others.
    package static let journalBufferBytesMax = 64 << 20
    /// One journal record's body and sealed fields.
    ///
    /// A message plus what the service adds.
    package static let recordBytesMax = 2 << 20
    /// Sealed fields of one record: each event has one at most, and a command gives few events.
    package static let sealedFieldsMax = 16
    /// One message read back from our own disk, snapshot records included.
    package static let storedMessageBytesMax = 16 << 20
    /// Fields of such a message: bounds what damage can make of it.
    package static let storedMessageFieldsMax = 1_000_000
    /// One journal segment.
    package static let segmentBytes = 64 << 20

    /// Bytes of one object of the vault: an excerpt of a video, a package of documents.
    ///
    /// What is larger belongs into the platform's own store, and its digest here.
    package static let objectBytesMax = 256 << 20
    /// Objects of a server: its table of keys is then 128 MiB, and its index some 16 MiB.
    package static let objectsMax = 1 << 18
    /// Bytes of all objects of a server together: what one disk of a usual server holds beside the
    /// journal, and what a backup still takes in a night.
    package static let vaultBytesMax = 1 << 40
    /// How long an object stays that nothing refers to: a month is enough to notice that a journal
    /// is an older one, and what nobody refers to is not kept for ever.
    package static let objectAsideMilliseconds: Int64 = 30 * 24 * 3_600_000

    /// Checks the relations between the bounds; called once at start.
    ///
    /// - Precondition: every relation holds; otherwise the process traps.
    package static func assertRelations() {
        invariant(messageBytesMax <= messageBytesInFlightMax, "one message fits the global budget")
        invariant(inflateRatioFreeBytes <= messageBytesMax, "a ratio is checked below the limit")
        invariant(messageBytesMax < recordBytesMax, "a message fits a journal record")
        invariant(recordBytesMax <= storedMessageBytesMax, "a record can be read back")
        invariant(messageUnknownBytesMax <= messageBytesMax, "unknown fields are part of a message")
        invariant(recordBytesMax < segmentBytes, "a record fits a segment")
        invariant(recordBytesMax < journalBufferBytesMax, "a record fits the journal buffer")
        invariant(
            statusDetailsBytesMax / 3 * 4 < trailerBytesMax, "details fit the trailers in base64")
        invariant(trailerBytesMax < headerListBytesMax, "our trailers pass our own limit")
        invariant(
            sessionsPerIdentityMax < sessionsKeptMax, "one identity does not fill the sessions")
        invariant(evidenceChunkBytesMax < messageBytesMax, "a chunk fits a message")
        invariant(
            evidenceStreamsPerIdentityMax > 0 && backupStreamsPerIdentityMax > 0,
            "everybody may have something")
        invariant(objectBytesMax <= vaultBytesMax, "an object fits the vault")
        invariant(bulkReadCost <= callBurstPerIdentity, "a bulk read can be paid for")
        invariant(
            unidentifiedConnectionsMax + 3 * strangersPerDoorMax < connectionsMax / 2,
            "who shows no certificate leaves room for those who do, at each of three doors")
        invariant(longLivedStreamsMax < concurrentStreamsMax, "watches leave room for calls")
        invariant(clientIdleMilliseconds < idleMillisecondsMax, "an idle client goes first")
        invariant(
            clientAgeMilliseconds / 10 * 11 < ageMillisecondsMax / 10 * 9,
            "a client's connection ends before the server's age, jitter of both included")
        invariant(
            claimWaitMillisecondsMax < unaryMillisecondsMax, "a long poll ends before its call")
    }
}
