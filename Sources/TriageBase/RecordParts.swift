// A journal record as the codec and the journal hand it to each other: a body, and sealed fields
// that can be taken out later while every proof over the record still holds. Knows what neither
// says.

/// A record to be written; kept and refilled, so that a record costs no allocation.
package struct RecordParts: Sendable {
    /// What can never be taken out.
    package var body: [UInt8] = []
    /// What can.
    package private(set) var sealed: [[UInt8]] = []

    /// A record of nothing.
    package init() {}

    /// Forgets everything but its memory.
    package mutating func removeAll() {
        body.removeAll(keepingCapacity: true)
        sealed.removeAll(keepingCapacity: true)
    }

    /// Adds a sealed field.
    ///
    /// - Returns: Its number in the record, from 1.
    /// - Precondition: The record has fewer than ``Limits/sealedFieldsMax``.
    /// - Complexity: O(1): the bytes are shared, not copied.
    package mutating func seal(_ field: [UInt8]) -> Int {
        precondition(sealed.count < Limits.sealedFieldsMax)
        sealed.append(field)
        return sealed.count
    }
}

extension RecordParts {
    /// Lends the record as whoever reads a journal gets it.
    ///
    /// - Complexity: O(bytes): the sealed fields are copied, because a view's stand together.
    package func withView<R, E: Error>(_ read: (RecordView) throws(E) -> R) throws(E) -> R {
        let together = sealed.flatMap { $0 }
        var view = RecordView(body: body.span, sealed: together.span)
        var start = 0
        for field in sealed {
            view.addField(start..<start + field.count)
            start += field.count
        }
        return try read(view)
    }
}

/// A record as it was read: lent for as long as its bytes are.
package struct RecordView: ~Escapable {
    /// The body.
    package let body: Span<UInt8>
    private let sealed: Span<UInt8>
    private var places = InlineArray<16, Place>(repeating: Place(start: 0, end: 0))
    /// Sealed fields, erased ones included.
    package private(set) var fieldCount = 0

    private struct Place {
        var start: UInt32
        var end: UInt32
        static let erased: UInt32 = .max
    }

    /// A record whose sealed fields are to be found within `sealed`, and are then added.
    @_lifetime(copy body, copy sealed)
    package init(body: Span<UInt8>, sealed: Span<UInt8>) {
        self.body = body
        self.sealed = sealed
    }

    /// A record without sealed fields.
    @_lifetime(copy body)
    package init(body: Span<UInt8>) {
        self.init(body: body, sealed: body)
    }

    /// Adds the field at a place of the sealed bytes; nil: the field was erased.
    ///
    /// - Precondition: The record has fewer than ``Limits/sealedFieldsMax``, and the place is one.
    @_lifetime(self: copy self)
    package mutating func addField(_ place: Range<Int>?) {
        if let place {
            precondition(place.lowerBound >= 0 && place.upperBound <= sealed.count)
            places[fieldCount] = Place(
                start: UInt32(place.lowerBound), end: UInt32(place.upperBound))
        } else {
            places[fieldCount] = Place(start: Place.erased, end: Place.erased)
        }
        fieldCount += 1
    }

    /// Whether a field, by its number from 1 to ``fieldCount``, was erased.
    package func isErased(_ number: Int) -> Bool {
        precondition(number <= fieldCount)
        return places[number - 1].start == Place.erased
    }

    /// The bytes of a field; none of one that was erased.
    ///
    /// - Parameter number: From 1; at most ``fieldCount``.
    /// - Returns: Its bytes, lent for as long as the record is.
    @_lifetime(copy self)
    package func field(_ number: Int) -> Span<UInt8> {
        if isErased(number) { return sealed.extracting(0..<0) }
        let place = places[number - 1]
        return sealed.extracting(Int(place.start)..<Int(place.end))
    }
}
