// The report that is as every encoder writes it and as it should be, which is nearly every one: one
// walk over the wire bytes checks it, takes the facts and writes the stored content. 9,500
// instructions less than the way of every other message, which it leaves all other reports to. What
// comes out is the same: tests and a fuzz target hold the two ways against each other.

internal import TriageBase
internal import TriageDomain

/// Fields of the messages that are read, and of those that are written, by their numbers.
enum ReportField {
    enum Request { static let id: UInt8 = 1, report: UInt8 = 2 }
    enum Report {
        static let subject: UInt8 = 4, relatedSubjects: UInt8 = 5, harmFamily: UInt8 = 6
        static let imminence: UInt8 = 7, modifiers: UInt8 = 8, reporter: UInt8 = 9
        static let signals: UInt8 = 10, language: UInt8 = 11, region: UInt8 = 12
        static let description: UInt8 = 13, evidenceURIs: UInt8 = 14, externalID: UInt8 = 15
        static let occurTime: UInt8 = 16
    }
    enum Reporter { static let kind: UInt8 = 1, id: UInt8 = 2 }
    enum Content {
        static let subject: UInt8 = 1, relatedSubjects: UInt8 = 2, harmFamily: UInt8 = 3
        static let imminence: UInt8 = 4, modifiers: UInt8 = 5, reporterKind: UInt8 = 6
        static let reporterID: UInt8 = 7, signals: UInt8 = 8, language: UInt8 = 9
        static let region: UInt8 = 10, description: UInt8 = 11, evidenceURIs: UInt8 = 12
        static let externalID: UInt8 = 13, occurTime: UInt8 = 14
    }
    // Those below have the same numbers in what is read and in what is written, and are copied.
    enum Subject {
        static let kind: UInt8 = 1, id: UInt8 = 2, accountID: UInt8 = 3, uri: UInt8 = 4
        static let liveStream: UInt8 = 5
    }
    enum Stream {
        static let live: UInt8 = 1, viewerCount: UInt8 = 2, startTime: UInt8 = 3
        static let heartbeatTime: UInt8 = 4, endTime: UInt8 = 5
    }
    enum Signal {
        static let source: UInt8 = 1, version: UInt8 = 2, label: UInt8 = 3, confidence: UInt8 = 4
        static let observeTime: UInt8 = 5
    }
    enum Time { static let seconds: UInt8 = 1, nanos: UInt8 = 2 }
}

extension RequestDecoder {
    /// Decodes a request of SubmitReport, or a message of SubmitReports, which is the same; nil
    /// unless it is canonical and nothing is wrong with it.
    func decodeCanonical(_ bytes: Span<UInt8>) -> (id: RequestID, report: DecodedReport)? {
        guard bytes.count <= Limits.messageBytesMax else { return nil }
        return unsafe bytes.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return nil }
            var walk = unsafe CanonicalReportWalk(bytes, at: start)
            return walk.request()
        }
    }
}

/// One walk over one request.
private struct CanonicalReportWalk {
    private var reader: CanonicalReader
    private var facts = ReportFacts(
        family: .unrecognised, reporter: .unrecognised, imminence: .unspecified,
        modifiers: RiskModifiers(rawValue: 0), signalPermille: 0, live: false,
        language: .undetermined, region: .unknown, routing: .unspecified, clearance: .general,
        subject: Hash128(high: 0, low: 0))

    init(_ bytes: UnsafeBufferPointer<UInt8>, at start: UnsafePointer<UInt8>) {
        reader = unsafe CanonicalReader(bytes, at: start)
    }

    mutating func request() -> (id: RequestID, report: DecodedReport)? {
        guard reader.take(WireTag.bytes(ReportField.Request.id)),
            let id = unsafe RequestID(uuid: reader.text(36).span),
            reader.take(WireTag.bytes(ReportField.Request.report))
        else { return nil }
        let outer = reader.enter()
        // Every field of the content has at most as many bytes as the one that it comes from.
        let contentMax = reader.bytesLeft
        var content: [UInt8] = []
        // One allocation, which is kept; see `Arena.pack` for why in this way.
        content.append(addingCapacity: contentMax) { output in
            unsafe output.withUnsafeMutableBufferPointer { buffer, count in
                guard let start = buffer.baseAddress else { return }
                var writer = unsafe FieldWriter(start, capacity: contentMax)
                report(&writer)
                count = writer.count
            }
        }
        reader.leave(outer)
        guard reader.isCanonical, reader.isAtEnd else { return nil }
        facts.routing = RoutingRegion.serving(facts.region)
        facts.clearance = Clearance.required(for: facts.family, modifiers: facts.modifiers)
        return (id, DecodedReport(facts: facts, content: content))
    }

    private mutating func report(_ content: inout FieldWriter) {
        typealias Field = ReportField.Report
        typealias Stored = ReportField.Content
        guard reader.take(WireTag.bytes(Field.subject)) else { return reader.refuse() }
        copy(Stored.subject, &content) { $0.subject(isFirst: true) }
        repeated(Field.relatedSubjects, max: ReportBound.relatedSubjects) {
            $0.copy(Stored.relatedSubjects, &content) { $0.subject(isFirst: false) }
        }
        guard reader.take(WireTag.varint(Field.harmFamily)) else { return reader.refuse() }
        let family = reader.choice(0x7F)
        facts.family = HarmFamily(rawValue: family) ?? .unrecognised
        content.number(Stored.harmFamily, UInt64(family))
        if reader.take(WireTag.varint(Field.imminence)) { imminence(&content) }
        if reader.take(WireTag.bytes(Field.modifiers)) { modifiers(&content) }
        reporter(&content)
        repeated(Field.signals, max: ReportBound.signals) {
            $0.copy(Stored.signals, &content) { $0.signal() }
        }
        if reader.take(WireTag.bytes(Field.language)) { language(&content) }
        if reader.take(WireTag.bytes(Field.region)) { region(&content) }
        if reader.take(WireTag.bytes(Field.description)) {
            text(Stored.description, max: ReportBound.description, &content)
        }
        repeated(Field.evidenceURIs, max: ReportBound.evidenceURIs) {
            $0.text(Stored.evidenceURIs, max: ReportBound.uri, &content)
        }
        if reader.take(WireTag.bytes(Field.externalID)) {
            text(Stored.externalID, max: ReportBound.externalID, &content)
        }
        // Its number is the first that takes two bytes.
        if reader.take(0x80 | WireTag.bytes(Field.occurTime & 15), Field.occurTime >> 4) {
            copy(Stored.occurTime, &content) { $0.time() }
        }
    }

    // MARK: Parts

    /// The fields of a repeated message or text.
    @inline(__always)
    private mutating func repeated(
        _ field: UInt8, max: Int, _ element: (inout CanonicalReportWalk) -> Void
    ) {
        var count = 0
        while reader.take(WireTag.bytes(field)) {
            count += 1
            guard count <= max else { return reader.refuse() }
            element(&self)
        }
    }

    /// Checks a message and copies it as it is, under another number.
    @inline(__always)
    private mutating func copy(
        _ field: UInt8, _ content: inout FieldWriter,
        _ check: (inout CanonicalReportWalk) -> Void
    ) {
        let outer = reader.enter()
        let start = unsafe reader.place
        check(&self)
        reader.leave(outer)
        guard reader.isCanonical else { return }
        let bytes = unsafe reader.bytes(from: start)
        content.head(field, bytes.count)
        unsafe content.raw(bytes)
    }

    @inline(__always)
    private mutating func text(_ field: UInt8, max: Int, _ content: inout FieldWriter) {
        unsafe content.text(field, UnsafeRawBufferPointer(reader.text(max)))
    }

    private mutating func subject(isFirst: Bool) {
        typealias Field = ReportField.Subject
        guard reader.take(WireTag.varint(Field.kind)) else { return reader.refuse() }
        let kind = reader.choice(ReportBound.subjectKindMax)
        guard reader.take(WireTag.bytes(Field.id)) else { return reader.refuse() }
        let id = unsafe reader.text(ReportBound.identifier)
        if isFirst { facts.subject = unsafe Hash128(of: id.span, seed: UInt64(kind)) }
        if reader.take(WireTag.bytes(Field.accountID)) {
            _ = unsafe reader.text(ReportBound.identifier)
        }
        if reader.take(WireTag.bytes(Field.uri)) { _ = unsafe reader.text(ReportBound.uri) }
        guard kind == ReportBound.liveStreamKind else { return }
        // Unless somebody said that it has ended.
        guard reader.take(WireTag.bytes(Field.liveStream)) else { return facts.live = true }
        let outer = reader.enter()
        if stream() { facts.live = true }
        reader.leave(outer)
    }

    /// True when it is on air.
    private mutating func stream() -> Bool {
        typealias Field = ReportField.Stream
        let isLive = reader.take(WireTag.varint(Field.live)) && reader.choice(1) == 1
        if reader.take(WireTag.varint(Field.viewerCount)), reader.number() > UInt64(Int32.max) {
            reader.refuse()
        }
        if reader.take(WireTag.bytes(Field.startTime)) { inner { $0.time() } }
        if reader.take(WireTag.bytes(Field.heartbeatTime)) { inner { $0.time() } }
        if reader.take(WireTag.bytes(Field.endTime)) {
            if isLive { reader.refuse() } else { inner { $0.time() } }
        }
        return isLive
    }

    @inline(__always)
    private mutating func inner(_ check: (inout CanonicalReportWalk) -> Void) {
        let outer = reader.enter()
        check(&self)
        reader.leave(outer)
    }

    private mutating func time() {
        typealias Field = ReportField.Time
        let seconds =
            reader.take(WireTag.varint(Field.seconds)) ? Int64(bitPattern: reader.number()) : 0
        let nanos = reader.take(WireTag.varint(Field.nanos)) ? reader.number() : 0
        if !Form.isInRange(seconds: seconds, nanos: Int64(clamping: nanos)) { reader.refuse() }
    }

    private mutating func imminence(_ content: inout FieldWriter) {
        let raw = reader.choice(0x7F)
        guard let imminence = Imminence(rawValue: raw) else { return reader.refuse() }
        facts.imminence = imminence
        content.number(ReportField.Content.imminence, UInt64(raw))
    }

    /// In rising order and none twice: then they are kept as they came.
    private mutating func modifiers(_ content: inout FieldWriter) {
        copy(ReportField.Content.modifiers, &content) { walk in
            var last: UInt8 = 0
            var set = RiskModifiers(rawValue: 0)
            repeat {
                let value = walk.reader.choice(7)
                guard value > last else { return walk.reader.refuse() }
                last = value
                set.formUnion(RiskModifiers(rawValue: 1 << (value - 1)))
            } while !walk.reader.isAtEnd
            walk.facts.modifiers = set
        }
    }

    private mutating func reporter(_ content: inout FieldWriter) {
        typealias Field = ReportField.Reporter
        guard reader.take(WireTag.bytes(ReportField.Report.reporter)) else {
            return reader.refuse()
        }
        let outer = reader.enter()
        guard reader.take(WireTag.varint(Field.kind)) else { return reader.refuse() }
        let raw = reader.choice(0x7F)
        guard let kind = ReporterKind(rawValue: raw) else { return reader.refuse() }
        facts.reporter = kind
        content.number(ReportField.Content.reporterKind, UInt64(raw))
        if reader.take(WireTag.bytes(Field.id)) {
            text(ReportField.Content.reporterID, max: ReportBound.identifier, &content)
        }
        reader.leave(outer)
    }

    private mutating func signal() {
        typealias Field = ReportField.Signal
        guard reader.take(WireTag.bytes(Field.source)) else { return reader.refuse() }
        _ = unsafe reader.text(ReportBound.signalText)
        if reader.take(WireTag.bytes(Field.version)) {
            _ = unsafe reader.text(ReportBound.signalVersion)
        }
        guard reader.take(WireTag.bytes(Field.label)) else { return reader.refuse() }
        _ = unsafe reader.text(ReportBound.signalText)
        if reader.take(WireTag.fixed64(Field.confidence)) {
            let confidence = Double(bitPattern: reader.fixed64())
            // Written so that NaN is refused, and 0 with a sign as well.
            guard confidence > 0, confidence <= 1 else { return reader.refuse() }
            facts.signalPermille = max(facts.signalPermille, ReportBound.permille(confidence))
        }
        if reader.take(WireTag.bytes(Field.observeTime)) { inner { $0.time() } }
    }

    private mutating func language(_ content: inout FieldWriter) {
        let tag = unsafe reader.text(ReportBound.languageTag)
        guard let code = unsafe Form.languageCode(tag.span) else { return reader.refuse() }
        facts.language = code
        unsafe content.text(ReportField.Content.language, UnsafeRawBufferPointer(tag))
    }

    private mutating func region(_ content: inout FieldWriter) {
        let text = unsafe reader.text(2)
        guard let code = unsafe RegionCode(text: text.span) else { return reader.refuse() }
        facts.region = code
        unsafe content.text(ReportField.Content.region, UnsafeRawBufferPointer(text))
    }
}
