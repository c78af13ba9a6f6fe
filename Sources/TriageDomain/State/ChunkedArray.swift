// The state's container: an array whose copies are cheap enough to take a snapshot in the middle of
// work. Knows nothing of what it holds or of who writes the snapshot.

/// An array in copy-on-write chunks of 256 elements, in groups of 256 chunks.
///
/// Copying it is one retain. The first write to an element after that copies three small arrays and
/// never the rest: the list of groups (a reference for 65,536 elements), one group (256 references)
/// and one chunk (256 elements). A copy may be read on another thread while the original changes.
/// An element keeps its index for ever; ``removePrefix(upTo:)`` frees the oldest ones.
package struct ChunkedArray<Element>: RandomAccessCollection {
    private typealias Chunk = ContiguousArray<Element>
    private typealias Group = ContiguousArray<Chunk>

    /// Elements a chunk.
    package static var chunkSize: Int { 256 }

    private static var chunkBits: Int { 8 }
    private static var groupBits: Int { 16 }

    private var groups: ContiguousArray<Group> = []
    /// The index of the element that was, or will be, the first ever.
    private let origin: Int
    /// How many whole groups are gone from the front.
    private var groupsRemoved = 0

    /// The index of the oldest element that is still there.
    package private(set) var startIndex: Int
    /// One more than the index of the newest element.
    package private(set) var endIndex: Int

    /// Makes an empty array.
    ///
    /// - Parameter startIndex: The index that the first appended element will have; 0 or more.
    package init(startIndex: Int = 0) {
        precondition(startIndex >= 0, "negative index")
        origin = startIndex
        self.startIndex = startIndex
        endIndex = startIndex
    }

    /// The element at `index`; `array[i].field = value` writes in place.
    ///
    /// - Precondition: `startIndex <= index < endIndex`.
    /// - Complexity: O(1); the first write to a chunk after a copy was taken copies 256 elements.
    package subscript(index: Int) -> Element {
        @inline(__always)
        _read {
            let place = place(of: index)
            yield groups[place.group][place.chunk][place.offset]
        }
        @inline(__always)
        _modify {
            let place = place(of: index)
            yield &groups[place.group][place.chunk][place.offset]
        }
    }

    /// Adds `element` at ``endIndex``.
    package mutating func append(_ element: Element) {
        let position = endIndex - origin
        let group = position >> Self.groupBits - groupsRemoved
        if group == groups.count { groups.append(Group()) }
        if position & (Self.chunkSize - 1) == 0 {
            var chunk = Chunk()
            chunk.reserveCapacity(Self.chunkSize)
            groups[group].append(chunk)
        }
        groups[group][position >> Self.chunkBits & 0xFF].append(element)
        endIndex += 1
    }

    /// Forgets all elements before `index`; the others keep their indices.
    ///
    /// Memory comes back in whole chunks: up to 255 forgotten elements live until the next call that
    /// passes the end of their chunk.
    ///
    /// - Precondition: `startIndex <= index <= endIndex`.
    package mutating func removePrefix(upTo index: Int) {
        precondition(startIndex <= index && index <= endIndex, "index out of range")
        let firstChunk = (startIndex - origin) >> Self.chunkBits
        let endChunk = (index - origin) >> Self.chunkBits
        startIndex = index
        // A chunk that is not full yet stays: it is where the next element goes.
        for chunk in firstChunk..<endChunk {
            groups[chunk >> 8 - groupsRemoved][chunk & 0xFF] = Chunk()
        }
        let wholeGroups = endChunk >> 8 - groupsRemoved
        if wholeGroups > 0 {
            groups.removeFirst(wholeGroups)
            groupsRemoved += wholeGroups
        }
    }

    /// Calls `body` with each chunk's elements, oldest first; cheaper than indexing them one by one.
    package func forEach<Failure: Error>(
        _ body: (borrowing Element) throws(Failure) -> Void
    ) throws(Failure) {
        var index = startIndex
        while index < endIndex {
            let place = place(of: index)
            let chunk = groups[place.group][place.chunk]
            for offset in place.offset..<chunk.count { try body(chunk[offset]) }
            index += chunk.count - place.offset
        }
    }

    @inline(__always)
    private func place(of index: Int) -> (group: Int, chunk: Int, offset: Int) {
        precondition(startIndex <= index && index < endIndex, "index out of range")
        let position = index - origin
        return (
            position >> Self.groupBits - groupsRemoved, position >> Self.chunkBits & 0xFF,
            position & (Self.chunkSize - 1)
        )
    }
}

extension ChunkedArray: Sendable where Element: Sendable {}
