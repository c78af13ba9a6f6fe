// Reports: the hot path. One pass over the unpacked message checks it, takes the facts that rules
// look at, and builds the stored content that shares the message's texts; no Swift String is made.

internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

/// A report whose form is right, or (with problems noted) was not.
struct DecodedReport {
    var facts: ReportFacts
    /// Packed `triaged.storage.v1.ReportContent`.
    var content: [UInt8]
}

private typealias APIReport = Triaged__V1__Report
private typealias APISubject = Triaged__V1__Subject
private typealias Stored = Triaged__Storage__V1__ReportContent
private typealias StoredSubject = Triaged__Storage__V1__Subject
private typealias StoredTime = Triaged__Storage__V1__SubmittedTime

/// How much a report may have; bytes, unless a name says otherwise.
enum ReportBound {
    static let relatedSubjects = 32
    static let signals = 32
    static let evidenceURIs = 32
    static let identifier = 256
    static let uri = 2 << 10
    static let description = 8 << 10
    static let externalID = 128
    static let signalText = 128
    static let signalVersion = 64
    /// RFC 5646 §4.4.1.
    static let languageTag = 35
    /// The last kind of subject.
    static let subjectKindMax: UInt8 = 9
    static let liveStreamKind: UInt8 = 7

    /// A confidence in thousandths: up, not to the nearest, because doubt raises.
    static func permille(_ confidence: Double) -> UInt16 {
        UInt16((confidence * 1_000).rounded(.up))
    }
}

extension RequestDecoder {
    /// Checks a report and takes it apart; nil after a problem.
    func decode(
        _ report: UnsafeMutablePointer<Triaged__V1__Report>?, _ form: inout Form
    ) -> DecodedReport? {
        guard let report = unsafe report else {
            form.refuse({ "report" }, "is required")
            return nil
        }
        let stored = unsafe arena.new(triaged__storage__v1__report_content__init)
        var facts = unsafe subjects(report, stored, &form)
        unsafe classification(report, stored, &facts, &form)
        unsafe reporter(report.pointee.reporter, stored, &facts, &form)
        unsafe signals(report, stored, &facts, &form)
        unsafe words(report, stored, &form)
        guard form.problems.isEmpty else { return nil }
        facts.clearance = Clearance.required(for: facts.family, modifiers: facts.modifiers)
        return unsafe DecodedReport(facts: facts, content: arena.pack(stored))
    }

    /// What the report is about, and everything else that has a neutral value yet.
    private func subjects(
        _ report: UnsafeMutablePointer<APIReport>, _ stored: UnsafeMutablePointer<Stored>,
        _ form: inout Form
    ) -> ReportFacts {
        var facts = ReportFacts(
            family: .unrecognised, reporter: .unrecognised, imminence: .unspecified,
            modifiers: RiskModifiers(rawValue: 0),
            signalPermille: 0, live: false, language: .undetermined, region: .unknown,
            routing: .unspecified, clearance: .general, subject: Hash128(high: 0, low: 0))
        if let subject = unsafe report.pointee.subject {
            unsafe stored.pointee.subject = self.subject(
                subject, &facts.live, &form, { "report.subject" })
            facts.subject = unsafe withBytes(subject.pointee.id) {
                unsafe Hash128(of: $0, seed: UInt64(subject.pointee.kind.rawValue))
            }
        } else {
            form.refuse({ "report.subject" }, "is required")
        }
        let count = unsafe report.pointee.n_related_subjects
        form.checkCount(count, max: ReportBound.relatedSubjects, "report.related_subjects")
        guard count > 0, count <= ReportBound.relatedSubjects else { return facts }
        let list = unsafe arena.take(count, of: UnsafeMutablePointer<StoredSubject>?.self)
        for index in 0..<count {
            guard let subject = unsafe report.pointee.related_subjects[index] else { continue }
            unsafe list[index] = self.subject(
                subject, &facts.live, &form, { "report.related_subjects[\(index)]" })
        }
        unsafe stored.pointee.n_related_subjects = count
        unsafe stored.pointee.related_subjects = list
        return facts
    }

    private func subject(
        _ subject: UnsafeMutablePointer<APISubject>, _ live: inout Bool, _ form: inout Form,
        _ path: () -> String
    ) -> UnsafeMutablePointer<StoredSubject> {
        let stored = unsafe arena.new(triaged__storage__v1__subject__init)
        let kind = unsafe subject.pointee.kind.rawValue
        if kind < 1 || kind > UInt32(ReportBound.subjectKindMax) {
            form.refuse(
                { path() + ".kind" },
                kind == 0 ? "is required" : "is not a value that this service knows")
        }
        unsafe form.checkText(
            subject.pointee.id, min: 1, max: ReportBound.identifier, path() + ".id")
        unsafe form.checkText(
            subject.pointee.account_id, max: ReportBound.identifier, path() + ".account_id")
        unsafe form.checkText(subject.pointee.uri, max: ReportBound.uri, path() + ".uri")
        unsafe stored.pointee.kind = Int32(truncatingIfNeeded: kind)
        unsafe stored.pointee.id = unsafe subject.pointee.id
        unsafe stored.pointee.account_id = unsafe subject.pointee.account_id
        unsafe stored.pointee.uri = unsafe subject.pointee.uri
        let isStream =
            unsafe subject.pointee.kind
            == TRIAGED__V1__SUBJECT_KIND__SUBJECT_KIND_LIVE_STREAM
        if let stream = unsafe subject.pointee.live_stream {
            if !isStream {
                form.refuse(
                    { path() + ".live_stream" }, "is only for kind SUBJECT_KIND_LIVE_STREAM")
            }
            unsafe stored.pointee.live_stream = self.stream(
                stream, &form, { path() + ".live_stream" })
            if unsafe isStream && stream.pointee.live != 0 { live = true }
        } else if isStream {
            // Nobody said that it has ended.
            live = true
        }
        return unsafe stored
    }

    private func stream(
        _ stream: UnsafeMutablePointer<Triaged__V1__LiveStream>, _ form: inout Form,
        _ path: () -> String
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__LiveStream> {
        let stored = unsafe arena.new(triaged__storage__v1__live_stream__init)
        if unsafe stream.pointee.viewer_count < 0 {
            form.refuse({ path() + ".viewer_count" }, "must not be negative")
        }
        if unsafe stream.pointee.live != 0 && stream.pointee.end_time != nil {
            form.refuse({ path() + ".end_time" }, "must be absent while live")
        }
        unsafe stored.pointee.live = unsafe stream.pointee.live
        unsafe stored.pointee.viewer_count = unsafe stream.pointee.viewer_count
        unsafe stored.pointee.start_time = time(
            stream.pointee.start_time, &form, { path() + ".start_time" })
        unsafe stored.pointee.last_heartbeat_time = time(
            stream.pointee.last_heartbeat_time, &form, { path() + ".last_heartbeat_time" })
        unsafe stored.pointee.end_time = time(
            stream.pointee.end_time, &form, { path() + ".end_time" })
        return unsafe stored
    }

    /// Kind of harm, imminence, circumstances, language and place.
    private func classification(
        _ report: UnsafeMutablePointer<APIReport>, _ stored: UnsafeMutablePointer<Stored>,
        _ facts: inout ReportFacts, _ form: inout Form
    ) {
        let family = unsafe report.pointee.harm_family.rawValue
        if family == 0 { form.refuse({ "report.harm_family" }, "is required") }
        facts.family = HarmFamily(rawValue: UInt8(clamping: family)) ?? .unrecognised
        facts.imminence = unsafe form.choice(
            report.pointee.imminence, required: false, "report.imminence")
        facts.modifiers = unsafe form.modifiers(
            report.pointee.modifiers, report.pointee.n_modifiers, "report.modifiers")
        facts.language = unsafe form.language(report.pointee.language_code, "report.language_code")
        facts.region = unsafe form.region(report.pointee.region_code, "report.region_code")
        facts.routing = RoutingRegion.serving(facts.region)
        unsafe stored.pointee.harm_family = Int32(truncatingIfNeeded: family)
        unsafe stored.pointee.imminence = Int32(facts.imminence.rawValue)
        unsafe stored.pointee.language_code = unsafe report.pointee.language_code
        unsafe stored.pointee.region_code = unsafe report.pointee.region_code
        guard !facts.modifiers.isEmpty else { return }
        // Each counts once, so each is kept once.
        let list = unsafe arena.take(facts.modifiers.count, of: Int32.self)
        var count = 0
        for bit in 0..<7 where facts.modifiers.rawValue >> UInt8(bit) & 1 == 1 {
            unsafe list[count] = Int32(bit + 1)
            count += 1
        }
        unsafe stored.pointee.n_modifiers = count
        unsafe stored.pointee.modifiers = unsafe list
    }

    private func reporter(
        _ reporter: UnsafeMutablePointer<Triaged__V1__Reporter>?,
        _ stored: UnsafeMutablePointer<Stored>, _ facts: inout ReportFacts, _ form: inout Form
    ) {
        guard let reporter = unsafe reporter else {
            form.refuse({ "report.reporter" }, "is required")
            return
        }
        facts.reporter = unsafe form.choice(reporter.pointee.kind, "report.reporter.kind")
        unsafe form.checkText(
            reporter.pointee.id, max: ReportBound.identifier, "report.reporter.id")
        unsafe stored.pointee.reporter_kind = Int32(facts.reporter.rawValue)
        unsafe stored.pointee.reporter_id = unsafe reporter.pointee.id
    }

    private func signals(
        _ report: UnsafeMutablePointer<APIReport>, _ stored: UnsafeMutablePointer<Stored>,
        _ facts: inout ReportFacts, _ form: inout Form
    ) {
        let count = unsafe report.pointee.n_signals
        form.checkCount(count, max: ReportBound.signals, "report.signals")
        guard count > 0, count <= ReportBound.signals else { return }
        let list = unsafe arena.take(
            count, of: UnsafeMutablePointer<Triaged__Storage__V1__MachineSignal>?.self)
        for index in 0..<count {
            guard let signal = unsafe report.pointee.signals[index] else { continue }
            let copy = unsafe arena.new(triaged__storage__v1__machine_signal__init)
            unsafe list[index] = unsafe copy
            func path() -> String { "report.signals[\(index)]" }
            unsafe form.checkText(
                signal.pointee.source, min: 1, max: ReportBound.signalText, path() + ".source")
            unsafe form.checkText(
                signal.pointee.version, max: ReportBound.signalVersion, path() + ".version")
            unsafe form.checkText(
                signal.pointee.label, min: 1, max: ReportBound.signalText, path() + ".label")
            let confidence = unsafe signal.pointee.confidence
            // Written so that NaN is refused.
            if confidence >= 0, confidence <= 1 {
                facts.signalPermille = max(
                    facts.signalPermille, ReportBound.permille(confidence))
            } else {
                form.refuse({ path() + ".confidence" }, "must be 0 to 1")
            }
            unsafe copy.pointee.source = unsafe signal.pointee.source
            unsafe copy.pointee.version = unsafe signal.pointee.version
            unsafe copy.pointee.label = unsafe signal.pointee.label
            unsafe copy.pointee.confidence = confidence
            unsafe copy.pointee.observe_time = time(
                signal.pointee.observe_time, &form, { path() + ".observe_time" })
        }
        unsafe stored.pointee.n_signals = count
        unsafe stored.pointee.signals = unsafe list
    }

    /// What was written, where evidence is, and the submitter's own reference.
    private func words(
        _ report: UnsafeMutablePointer<APIReport>, _ stored: UnsafeMutablePointer<Stored>,
        _ form: inout Form
    ) {
        unsafe form.checkText(
            report.pointee.description, max: ReportBound.description, "report.description")
        unsafe form.checkText(
            report.pointee.external_id, max: ReportBound.externalID, "report.external_id")
        let count = unsafe report.pointee.n_evidence_uris
        form.checkCount(count, max: ReportBound.evidenceURIs, "report.evidence_uris")
        for index in 0..<min(count, ReportBound.evidenceURIs) {
            unsafe form.checkText(
                report.pointee.evidence_uris[index], min: 1, max: ReportBound.uri,
                "report.evidence_uris[\(index)]")
        }
        unsafe stored.pointee.description = unsafe report.pointee.description
        unsafe stored.pointee.external_id = unsafe report.pointee.external_id
        unsafe stored.pointee.n_evidence_uris = count
        unsafe stored.pointee.evidence_uris = unsafe report.pointee.evidence_uris
        unsafe stored.pointee.occur_time = time(
            report.pointee.occur_time, &form, { "report.occur_time" })
    }

    /// Checks a submitter's time and keeps it as it was given.
    @inline(__always)
    private func time(
        _ time: UnsafeMutablePointer<Google__Protobuf__Timestamp>?, _ form: inout Form,
        _ path: () -> String
    ) -> UnsafeMutablePointer<StoredTime>? {
        guard let time = unsafe time else { return nil }
        unsafe form.checkTime(time, path())
        let stored = unsafe arena.new(triaged__storage__v1__submitted_time__init)
        unsafe stored.pointee.seconds = unsafe time.pointee.seconds
        unsafe stored.pointee.nanos = unsafe time.pointee.nanos
        return unsafe stored
    }
}
