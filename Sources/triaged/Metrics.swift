// What the admin port answers: liveness, readiness, and every figure of the transport and the
// engine as Prometheus text. No figure carries an identity, an id or content.

internal import Synchronization
internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageEngine
internal import TriageGRPC
internal import TriageIO
internal import TriageJournal
internal import TriageServices
internal import TriageTLS
internal import TriageTransport

/// A value that one thread replaces and others read.
final class Published<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    /// Publishes a first value.
    init(_ value: Value) { self.value = Mutex(value) }

    /// The value now.
    var current: Value { value.withLock { $0 } }

    /// Publishes another value.
    func replace(_ value: Value) { self.value.withLock { $0 = value } }
}

/// The admin port's answers.
enum Metrics {
    /// Puts the answers together.
    static func routes(
        server: Server, engine: Engine, methods: MethodTable, health: HealthState,
        trust: Published<TrustStatus>
    ) -> AdminRoutes {
        AdminRoutes(
            live: { server.scrape() != nil },
            ready: { health.isServing },
            metrics: { hits in
                var page = PrometheusText()
                if var counts = server.scrape() {
                    counts.limits.add(hits)
                    page.append(counts, methods)
                }
                append(engine.status, to: &page)
                append(trust.current, to: &page)
                return page.text
            })
    }

    private static func append(_ trust: TrustStatus, to page: inout PrometheusText) {
        let now = SystemClock().wallTime()
        page.single(
            "triaged_certificate_expiry_seconds", "gauge",
            "When the server's certificate expires, Unix time.", seconds(trust.certificate.until))
        if let list = trust.revocationList {
            page.single(
                "triaged_crl_next_update_seconds", "gauge",
                "When the revocation list is due; past it every client is refused. Unix time.",
                seconds(list.until))
        }
        page.describe(
            "triaged_tls_alarm", "gauge",
            "0: there is time; 1: renew it now; 2: it has run out, clients are refused.")
        page.sample(
            "triaged_tls_alarm", [("what", "certificate")],
            String(trust.certificate.alarm(at: now).rawValue))
        if let list = trust.revocationList {
            page.sample(
                "triaged_tls_alarm", [("what", "crl")], String(list.alarm(at: now).rawValue))
        }
        page.describe(
            "triaged_tls_reloads_total", "counter",
            "Times that certificates were read again; refused: the old ones stayed.")
        page.sample("triaged_tls_reloads_total", [("outcome", "used")], String(trust.reloads))
        page.sample("triaged_tls_reloads_total", [("outcome", "refused")], String(trust.failures))
    }

    private static func append(_ status: EngineStatus, to page: inout PrometheusText) {
        page.describe(
            "triaged_cases_open", "gauge", "Open cases by level and whether they are held.")
        for level in Level.allCases {
            let counts = status.counts.levels[Int(level.rawValue)]
            let name = "P\(level.rawValue)"
            page.sample(
                "triaged_cases_open", [("level", name), ("held", "false")], String(counts.queued))
            page.sample(
                "triaged_cases_open", [("level", name), ("held", "true")], String(counts.held))
        }
        page.describe(
            "triaged_oldest_queued_seconds", "gauge",
            "When the oldest case of a level that waits was received, Unix time; 0 when none waits."
        )
        for level in Level.allCases {
            let oldest = status.counts.levels[Int(level.rawValue)].oldestQueued
            page.sample(
                "triaged_oldest_queued_seconds", [("level", "P\(level.rawValue)")],
                String(oldest.map(seconds) ?? 0))
        }
        page.single(
            "triaged_journal_durable_sequence", "counter", "Last journal sequence on disk.",
            status.durableSequence)
        page.single(
            "triaged_journal_failed", "gauge", "1 when the journal failed: writes are refused.",
            status.state == .journalFailed ? 1 : 0)
        page.single(
            "triaged_storage_full_total", "counter",
            "Writes refused because there was no room for the next segment.",
            status.counters.storageFull)
        page.single(
            "triaged_clock_ahead_milliseconds", "gauge",
            "How far the service's clock is ahead of the time of day, which was set back.",
            UInt64(max(0, status.clockAheadMilliseconds)))
        page.single(
            "triaged_engine_requests_total", "counter", "Requests that the engine handled.",
            status.counters.requests)
        page.single(
            "triaged_engine_requests_expired_total", "counter",
            "Of which not begun, because their calls' deadlines had passed.",
            status.counters.expired)
        page.single(
            "triaged_engine_records_total", "counter", "Journal records appended.",
            status.counters.records)
        page.single(
            "triaged_engine_watches", "gauge", "Watches that are open.", UInt64(status.watchCount))
        page.single(
            "triaged_watches_too_slow_total", "counter",
            "Watches ended because they did not keep up.", status.counters.watchesTooSlow)
        page.single(
            "triaged_watch_sweeps_total", "counter",
            "Times that a board watch was overrun before it had caught up, and went on.",
            status.counters.watchSweeps)
        appendStorage(status, to: &page)
        appendEncryption(status, to: &page)
        page.describe(
            "triaged_refusals_total", "counter", "Commands that the rules refused, by reason.")
        for kind in DomainError.Kind.allCases {
            page.sample(
                "triaged_refusals_total", [("reason", kind.name)],
                String(status.counters.refusals[kind.rawValue]))
        }
        histogram(
            "triaged_journal_commit_seconds", "How long a journal commit takes.",
            status.counters.commitNanoseconds, scale: 1e-9, &page)
        histogram(
            "triaged_journal_commit_records", "Records that a commit makes durable.",
            status.counters.commitRecords, scale: 1, &page)
    }

    private static func appendEncryption(_ status: EngineStatus, to page: inout PrometheusText) {
        page.single(
            "triaged_encryption", "gauge", "1 when what is on disk is encrypted.",
            status.encryption == nil ? 0 : 1)
        if let encryption = status.encryption {
            page.single(
                "triaged_data_key_time_seconds", "gauge",
                "When the data key in use was made, Unix time.", seconds(encryption.dataKey.made))
            page.single(
                "triaged_signing_key_time_seconds", "gauge",
                "When the signing key in use was made, Unix time.",
                seconds(encryption.signingKey.made))
            page.single(
                "triaged_keys", "gauge", "Keys in the directory, those kept for older files too.",
                UInt64(encryption.keyCount))
        }
        page.single(
            "triaged_evidence_objects", "gauge", "Objects of evidence that are not erased.",
            UInt64(status.counts.evidence))
        page.single(
            "triaged_evidence_bytes", "gauge", "Their bytes.", UInt64(status.counts.evidenceBytes))
        page.single(
            "triaged_holds_active", "gauge", "Holds in force.", UInt64(status.counts.activeHolds))
        appendHeads(status, to: &page)
        guard let vault = status.vault else { return }
        page.single(
            "triaged_vault_open", "gauge", "Objects that are being put or read.",
            UInt64(vault.open))
        page.single(
            "triaged_vault_missing", "gauge",
            "Objects that were missing at the start, and are not erased since.",
            UInt64(vault.missing))
        page.single(
            "triaged_vault_aside", "gauge", "Objects that nothing refers to, set aside.",
            UInt64(vault.aside))
        page.single("triaged_vault_puts_total", "counter", "Objects put.", vault.puts)
        page.single("triaged_vault_reads_total", "counter", "Objects read.", vault.reads)
        page.single("triaged_vault_erasures_total", "counter", "Objects erased.", vault.erasures)
        page.single(
            "triaged_vault_bytes_put_total", "counter", "Bytes of objects put.", vault.bytesPut)
        page.single(
            "triaged_vault_bytes_read_total", "counter", "Bytes of objects read.", vault.bytesRead)
        page.single(
            "triaged_vault_damaged_total", "counter",
            "Objects that were missing or did not verify.", vault.damaged)
        page.single(
            "triaged_vault_failures_total", "counter", "Calls of the vault's disk that failed.",
            vault.failures)
    }

    private static func appendHeads(_ status: EngineStatus, to page: inout PrometheusText) {
        guard let signing = status.signing else { return }
        page.single(
            "triaged_signed_head_sequence", "gauge", "The last record under a signed head.",
            signing.newest?.head.sequence ?? 0)
        page.single(
            "triaged_signed_head_time_seconds", "gauge",
            "When the newest head was signed, Unix time; 0 when none was.",
            signing.newest.map { seconds($0.time) } ?? 0)
        page.single(
            "triaged_heads_signed_total", "counter", "Heads signed.", signing.signed)
        page.single(
            "triaged_head_failures_total", "counter", "Heads that could not be signed or written.",
            signing.failures)
    }

    private static func appendStorage(_ status: EngineStatus, to page: inout PrometheusText) {
        page.single(
            "triaged_snapshot_sequence", "gauge", "Journal sequence of the newest snapshot.",
            status.snapshot?.sequence ?? 0)
        page.single(
            "triaged_snapshot_time_seconds", "gauge",
            "When the newest snapshot was taken, Unix time; 0 when there is none.",
            status.snapshot.map { seconds($0.time) } ?? 0)
        page.single(
            "triaged_snapshot_failures_total", "counter", "Snapshots that failed.",
            status.counters.snapshotFailures)
        page.single(
            "triaged_snapshots", "gauge", "Snapshots in the data directory.",
            UInt64(status.holdings.snapshots))
        page.single(
            "triaged_journal_segments", "gauge",
            "Segments in the data directory, as of the last snapshot.",
            UInt64(status.holdings.segments))
        page.single(
            "triaged_journal_first_sequence", "gauge",
            "The oldest journal record in the data directory.", status.holdings.firstSequence)
        page.single(
            "triaged_journal_segments_retired_total", "counter",
            "Segments removed, or moved to the archive.", status.counters.segmentsRetired)
        page.single(
            "triaged_journal_tidy_failures_total", "counter",
            "Times that superfluous files could not be removed or moved.",
            status.counters.tidyFailures)
        page.single(
            "triaged_mark_failures_total", "counter",
            "Times that the journal's mark could not be written.",
            UInt64(status.housekeeping.markFailures))
        page.single(
            "triaged_leaves_failures_total", "counter",
            "Times that the leaves of a segment could not be written.",
            UInt64(status.housekeeping.leavesFailures))
        page.single(
            "triaged_leaves_missing", "gauge",
            "Segments whose leaves are not there because of that; the next snapshot tries again.",
            UInt64(status.housekeeping.leavesMissing))
        Self.forgetting(status, &page)
    }

    private static func forgetting(_ status: EngineStatus, _ page: inout PrometheusText) {
        page.single(
            "triaged_journal_segments_rewritten_total", "counter",
            "Segments written anew because words in them were erased.",
            status.counters.segmentsRewritten)
        page.single(
            "triaged_journal_records_forgotten_total", "counter",
            "Journal records whose erased words were taken out.",
            status.counters.recordsForgotten)
        page.single(
            "triaged_journal_words_to_forget", "gauge",
            "What has erased words that the journal may still have, as of the last snapshot.",
            UInt64(status.wordsToForget))
        page.single(
            "triaged_journal_forget_failures_total", "counter",
            "Times that erased words could not be taken out of the journal.",
            status.counters.forgetFailures)
    }

    /// Writes a distribution by powers of two as a cumulative histogram.
    private static func histogram(
        _ name: String, _ help: String, _ distribution: Distribution, scale: Double,
        _ page: inout PrometheusText
    ) {
        page.describe(name, "histogram", help)
        var cumulative: UInt64 = 0
        for (power, count) in distribution.buckets.enumerated() {
            cumulative += count
            guard count > 0 else { continue }
            let bound = Double(UInt64(1) << UInt64(power)) * scale
            page.sample(name + "_bucket", [("le", "\(bound)")], String(cumulative))
        }
        page.sample(name + "_bucket", [("le", "+Inf")], String(distribution.count))
        page.sample(name + "_sum", [], "\(Double(distribution.sum) * scale)")
        page.sample(name + "_count", [], String(distribution.count))
    }

    private static func seconds(_ time: WallTime) -> UInt64 {
        UInt64(max(0, time.milliseconds / 1_000))
    }
}
