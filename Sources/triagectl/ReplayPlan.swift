// What a replay will send and when: drawn from the real figures by one seed, before anything is
// sent, so that the same seed gives the same reports at the same times. Pure: no clock, no network.
//
// Baseline: an inhomogeneous Poisson process with the dispatch set's hour and weekday curve, its
// rate multiplied hour by hour by a gamma variable, so that counts vary as the real ones do
// (variance over mean 1.4). Surges: the real arrival times of a crisis, multiplied, all about the
// same few incidents.

internal import TriageBase
internal import TriageCodec

/// What to draw.
struct ReplayParameters {
    var seed: UInt64
    /// Reports a day in the baseline.
    var ratePerDay: Double
    /// Virtual span, milliseconds.
    var spanMilliseconds: Int64
    /// Hour of the week at which it starts, 0 ...
    ///
    /// 167, Monday 00 h first.
    var startHour: Int
    /// Surges by name, how often each arrival is repeated, and when their peak begins (virtual).
    var surges: [SurgeChoice]
}

/// A surge to add.
struct SurgeChoice: Equatable {
    var name: String
    var multiplier: Int
    var peakAtMilliseconds: Int64
}

/// One report of a plan.
struct PlannedReport {
    /// Virtual time of sending, from the start, milliseconds.
    var offset: Int64
    var requestID: String
    var report: DynamicMessage
}

/// Draws plans.
struct ReplayPlanner {
    private let data: ReplayData
    private let parameters: ReplayParameters
    private var random: SeededRandom

    /// The most subjects that a surge's reports are about.
    private static let incidentsPerSurge: UInt64 = 4

    /// Variance over mean of the dispatch set's daily counts (SOURCE.md of the sample).
    private static let dispersion = 1.4

    /// Prepares to draw from `data`.
    init(data: ReplayData, parameters: ReplayParameters) {
        self.data = data
        self.parameters = parameters
        random = SeededRandom(seed: parameters.seed)
    }

    /// Draws the whole plan, in order of sending.
    mutating func plan() -> [PlannedReport] {
        var planned = baseline()
        for choice in parameters.surges { planned += surge(choice) }
        // Sorting by time alone would leave equal times in an order that depends on the algorithm.
        return planned.enumerated().sorted { a, b in
            (a.element.offset, a.offset) < (b.element.offset, b.offset)
        }.map(\.element)
    }

    private mutating func baseline() -> [PlannedReport] {
        let perWeek = data.hourWeights.reduce(0, +)
        var planned: [PlannedReport] = []
        var hourStart: Int64 = 0
        var hour = parameters.startHour
        while hourStart < parameters.spanMilliseconds {
            let mean = parameters.ratePerDay * 7 * data.hourWeights[hour % 168] / perWeek
            for _ in 0..<overdispersedCount(mean: mean) {
                let offset = hourStart + Int64(random.unit() * 3_600_000)
                if offset < parameters.spanMilliseconds {
                    planned.append(single(offset: offset))
                }
            }
            hourStart += 3_600_000
            hour += 1
        }
        return planned
    }

    private mutating func surge(_ choice: SurgeChoice) -> [PlannedReport] {
        guard let surge = data.surges.first(where: { $0.name == choice.name }) else { return [] }
        let shift = choice.peakAtMilliseconds - surge.peakOffset
        let incidents = (0..<Self.incidentsPerSurge).map { _ in random.next() }
        var planned: [PlannedReport] = []
        for arrival in surge.arrivals {
            for copy in 0..<choice.multiplier {
                // The sample holds one post in a hundred; the others fall between this one and the
                // next.
                let jitter = copy == 0 ? 0 : Int64(random.unit() * 60_000)
                let offset = arrival + shift + jitter
                guard offset >= 0, offset < parameters.spanMilliseconds else { continue }
                let subject = incidents[Int(random.next() % Self.incidentsPerSurge)]
                planned.append(
                    report(
                        offset: offset, family: "HARM_FAMILY_VIOLENT_THREAT", subject: subject,
                        country: surge.country, language: "en", priority: "D"))
            }
        }
        return planned
    }

    private mutating func single(offset: Int64) -> PlannedReport {
        return report(
            offset: offset, family: data.families.draw(&random), subject: random.next(),
            country: data.countries.draw(&random),
            language: data.languages.draw(&random), priority: data.priorities.draw(&random))
    }

    /// Poisson with a gamma-distributed rate: mean `mean`, variance `dispersion` times that.
    private mutating func overdispersedCount(mean: Double) -> Int {
        guard mean > 0 else { return 0 }
        let shape = mean / (Self.dispersion - 1)
        return poisson(mean: gamma(shape: shape) * (Self.dispersion - 1))
    }

    /// Marsaglia and Tsang's method, "A Simple Method for Generating Gamma Variables", 2000.
    private mutating func gamma(shape: Double) -> Double {
        if shape < 1 {
            let power = Real.power(max(random.unit(), .leastNormalMagnitude), 1 / shape)
            return gamma(shape: shape + 1) * power
        }
        let d = shape - 1.0 / 3
        let c = 1 / (9 * d).squareRoot()
        while true {
            let x = normal()
            let v = 1 + c * x
            guard v > 0 else { continue }
            let cube = v * v * v
            let u = max(random.unit(), .leastNormalMagnitude)
            if Real.log(u) < 0.5 * x * x + d - d * cube + d * Real.log(cube) { return d * cube }
        }
    }

    private mutating func normal() -> Double {
        let u = max(random.unit(), .leastNormalMagnitude)
        return (-2 * Real.log(u)).squareRoot() * Real.cosine(2 * .pi * random.unit())
    }

    /// Counts the arrivals of a process of rate 1 within `mean`.
    private mutating func poisson(mean: Double) -> Int {
        var time = 0.0
        var count = 0
        while true {
            time -= Real.log(max(random.unit(), .leastNormalMagnitude))
            if time > mean { return count }
            count += 1
        }
    }
}

extension ReplayPlanner {
    /// Builds one report: neutral words, marked as synthetic.
    private mutating func report(
        offset: Int64, family: String, subject: UInt64, country: String, language: String,
        priority: String
    ) -> PlannedReport {
        var about = DynamicMessage()
        let live = random.unit() < 0.1
        about["kind"] = .enumeration(live ? "SUBJECT_KIND_LIVE_STREAM" : "SUBJECT_KIND_POST")
        about["id"] = .string("synthetic-" + hexText(subject))
        if live {
            var stream = DynamicMessage()
            stream["live"] = .bool(true)
            stream["viewer_count"] = .int(Int64(random.next() % 500))
            about["live_stream"] = .message(stream)
        }
        var reporter = DynamicMessage()
        let kinds = ["REPORTER_KIND_CLASSIFIER", "REPORTER_KIND_USER", "REPORTER_KIND_PARTNER"]
        reporter["kind"] = .enumeration(kinds[Int(random.next() % 3)])
        var report = DynamicMessage()
        report["subject"] = .message(about)
        report["harm_family"] = .enumeration(family)
        report["imminence"] = .enumeration(Self.imminence(ofPriority: priority))
        report["reporter"] = .message(reporter)
        report["signals"] = .list([.message(signal())])
        if language != "und" { report["language_code"] = .string(language) }
        report["region_code"] = .string(country)
        report["description"] = .string("Synthetic report of a replay; no real person or event.")
        let id = RequestID(high: random.next() & ~0xF000 | 0x4000, low: random.next() | 1)
        return PlannedReport(offset: offset, requestID: id.uuidText, report: report)
    }

    private mutating func signal() -> DynamicMessage {
        var signal = DynamicMessage()
        signal["source"] = .string("replay")
        signal["label"] = .string("synthetic")
        signal["confidence"] = .double((random.unit() * 100).rounded() / 100)
        return signal
    }

    /// Imminent death is now; D and C are today; the rest is later.
    private static func imminence(ofPriority letter: String) -> String {
        switch letter {
        case "E": "IMMINENCE_NOW"
        case "D": "IMMINENCE_WITHIN_24_HOURS"
        case "C": "IMMINENCE_WITHIN_7_DAYS"
        default: "IMMINENCE_NOT_IMMINENT"
        }
    }
}

/// Names between the DSA's categories and ours.
enum HarmFamilyNames {
    /// The emergency slice of the DSA's categories, with the kind of harm that each stands for.
    static let ofCategory = [
        "SELF_HARM": "HARM_FAMILY_SUICIDE_SELF_HARM",
        "VIOLENCE": "HARM_FAMILY_VIOLENT_THREAT",
        "RISK_FOR_PUBLIC_SECURITY": "HARM_FAMILY_TERRORISM",
        "PROTECTION_OF_MINORS": "HARM_FAMILY_CHILD_SEXUAL_EXPLOITATION",
        "NON_CONSENSUAL_BEHAVIOUR": "HARM_FAMILY_INTIMATE_IMAGE_ABUSE",
        "CYBER_VIOLENCE": "HARM_FAMILY_INTIMATE_IMAGE_ABUSE",
    ]
}
