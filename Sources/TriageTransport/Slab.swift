// Values of one type in places that never move, named by small numbers: for state that is touched
// for every call, where an array would ask at each access whether it is shared, and an object would
// be counted each time that it is handed on. Here, because the compiler inlines it into nobody's
// code but this module's. Knows nothing of what it holds.

/// Places for values, which stay until the slab goes.
///
/// An access is one look-up of a pointer and one comparison.
///
/// - Isolation: its owner's.
@safe struct Slab<Element: ~Copyable>: ~Copyable {
    /// Places in one piece of memory, as a power of two.
    private static var chunkShift: Int { 5 }
    private static var chunkMask: Int { 1 << chunkShift - 1 }

    private var chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    private var chunkCapacity = 8
    /// How many places there are.
    private(set) var count = 0

    /// Makes a slab without places.
    init() {
        unsafe chunks = .allocate(capacity: chunkCapacity)
    }

    deinit {
        for index in 0..<count {
            unsafe (chunks[index >> Self.chunkShift] + (index & Self.chunkMask)).deinitialize(
                count: 1)
        }
        for chunk in 0..<((count + Self.chunkMask) >> Self.chunkShift) {
            unsafe chunks[chunk].deallocate()
        }
        unsafe chunks.deallocate()
    }

    /// Adds a place at the end.
    ///
    /// - Complexity: O(1); an allocation in 32.
    mutating func append(_ element: consuming Element) {
        let chunk = count >> Self.chunkShift
        if count & Self.chunkMask == 0 {
            if chunk == chunkCapacity { grow() }
            unsafe (chunks + chunk).initialize(to: .allocate(capacity: Self.chunkMask + 1))
        }
        unsafe (chunks[chunk] + (count & Self.chunkMask)).initialize(to: element)
        count += 1
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(
            capacity: chunkCapacity * 2)
        unsafe larger.moveInitialize(from: chunks, count: chunkCapacity)
        unsafe chunks.deallocate()
        unsafe chunks = unsafe larger
        chunkCapacity *= 2
    }

    /// The value in a place.
    ///
    /// - Precondition: `index` is from 0 up to ``count``.
    subscript(index: Int) -> Element {
        @inline(__always) unsafeAddress {
            precondition(index >= 0 && index < count, "no such place")
            return unsafe UnsafePointer(chunks[index >> Self.chunkShift] + (index & Self.chunkMask))
        }
        @inline(__always) unsafeMutableAddress {
            precondition(index >= 0 && index < count, "no such place")
            return unsafe chunks[index >> Self.chunkShift] + (index & Self.chunkMask)
        }
    }
}
