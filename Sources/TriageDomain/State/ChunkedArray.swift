// The state's container: an array whose copies are cheap enough to take a snapshot in the middle of
// work. Knows nothing of what it holds or of who writes the snapshot.

/// An array in copy-on-write chunks of 256 elements, in groups of 256 chunks.
///
/// Copying it is one retain. The first write to an element after that copies three small arrays and
/// never the rest: the list of groups (a reference for 65,536 elements), one group (256 references)
/// and one chunk (256 elements). A copy may be read on another thread while the original changes.
/// An element keeps its index for ever; ``removePrefix(upTo:)`` frees the oldest ones.
///
/// Inlinable, since an access that is not specialised costs ten times as much. The compiler still
/// calls the subscript from other modules (it is a coroutine): there, walk it with `for`.
package struct ChunkedArray<Element>: RandomAccessCollection {
    @usableFromInline
    typealias Chunk = ContiguousArray<Element>
    @usableFromInline
    typealias Group = ContiguousArray<Chunk>

    @usableFromInline
    var groups: ContiguousArray<Group> = []
    /// The index of the element that was, or will be, the first ever.
    @usableFromInline
    let origin: Int
    /// How many whole groups are gone from the front.
    @usableFromInline
    var groupsRemoved = 0
    @usableFromInline
    var start: Int
    @usableFromInline
    var end: Int

    /// Elements a chunk.
    @inlinable
    package static var chunkSize: Int { 256 }

    /// The index of the oldest element that is still there.
    @inlinable
    package var startIndex: Int { start }

    /// One more than the index of the newest element.
    @inlinable
    package var endIndex: Int { end }

    /// Makes an empty array.
    ///
    /// - Parameter startIndex: The index that the first appended element will have; 0 or more.
    @inlinable
    package init(startIndex: Int = 0) {
        precondition(startIndex >= 0, "negative index")
        origin = startIndex
        start = startIndex
        end = startIndex
    }

    /// The element at `index`; `array[i].field = value` writes in place.
    ///
    /// - Precondition: `startIndex <= index < endIndex`.
    /// - Complexity: O(1); the first write to a chunk after a copy was taken copies 256 elements.
    package subscript(index: Int) -> Element {
        @inlinable
        _read {
            let place = place(of: index)
            yield groups[place.group][place.chunk][place.offset]
        }
        @inlinable
        _modify {
            let place = place(of: index)
            yield &groups[place.group][place.chunk][place.offset]
        }
    }

    /// Adds `element` at ``endIndex``.
    @inlinable
    package mutating func append(_ element: consuming Element) {
        let position = end - origin
        let group = position >> 16 - groupsRemoved
        if group == groups.count { groups.append(Group()) }
        if position & 0xFF == 0 {
            var chunk = Chunk()
            chunk.reserveCapacity(Self.chunkSize)
            groups[group].append(chunk)
        }
        groups[group][position >> 8 & 0xFF].append(element)
        end += 1
    }

    /// Adds a run of elements at ``endIndex``: without touching them when it begins and ends with a
    /// chunk of its own.
    @inlinable
    package mutating func append(run: consuming ContiguousArray<Element>) {
        let position = end - origin
        guard position & 0xFF == 0, run.count <= Self.chunkSize, !run.isEmpty else {
            for element in run { append(element) }
            return
        }
        let group = position >> 16 - groupsRemoved
        if group == groups.count { groups.append(Group()) }
        end += run.count
        groups[group].append(run)
    }

    /// Forgets all elements before `index`; the others keep their indices.
    ///
    /// Memory comes back in whole chunks: up to 255 forgotten elements live until a later call
    /// passes the end of their chunk.
    ///
    /// - Precondition: `startIndex <= index <= endIndex`.
    @inlinable
    package mutating func removePrefix(upTo index: Int) {
        precondition(start <= index && index <= end, "index out of range")
        let firstChunk = (start - origin) >> 8
        let endChunk = (index - origin) >> 8
        start = index
        // The chunk that `index` is in stays.
        for chunk in firstChunk..<endChunk {
            groups[chunk >> 8 - groupsRemoved][chunk & 0xFF] = Chunk()
        }
        let wholeGroups = endChunk >> 8 - groupsRemoved
        if wholeGroups > 0 {
            groups.removeFirst(wholeGroups)
            groupsRemoved += wholeGroups
        }
    }

    /// Walks the elements, oldest first, chunk by chunk: cheaper than indexing them.
    package struct Iterator: IteratorProtocol {
        @usableFromInline
        let array: ChunkedArray
        @usableFromInline
        var chunk: Chunk = []
        @usableFromInline
        var offset = 0
        /// The index of the first element after `chunk`.
        @usableFromInline
        var upcoming: Int

        @inlinable
        init(_ array: ChunkedArray) {
            self.array = array
            upcoming = array.start
        }

        @inlinable
        package mutating func next() -> Element? {
            if offset == chunk.count {
                if upcoming == array.end { return nil }
                let place = array.place(of: upcoming)
                chunk = array.groups[place.group][place.chunk]
                offset = place.offset
                upcoming += chunk.count - offset
            }
            defer { offset += 1 }
            return chunk[offset]
        }
    }

    /// Lends every element in turn, oldest first, where a loop would copy each: a case has a dozen
    /// references to retain.
    @inlinable
    @inline(__always)
    package func lendEach<Failure: Error>(
        _ body: (borrowing Element) throws(Failure) -> Void
    ) throws(Failure) {
        var index = start
        while index < end {
            let place = place(of: index)
            let chunk = groups[place.group][place.chunk]
            // Through a span: the subscripts of arrays hand out copies.
            let elements = chunk.span
            for offset in place.offset..<elements.count { try body(elements[offset]) }
            index += elements.count - place.offset
        }
    }

    /// Hands out the elements of a range, oldest first, as the chunks in which they lie and where
    /// in those.
    ///
    /// Whoever reads single fields through a span of them (`span[offset].field`) copies nothing
    /// else; an element that is handed out by itself is copied before its fields are read.
    @inlinable
    @inline(__always)
    package func forEachChunk(
        in range: Range<Int>,
        _ body: (_ elements: ContiguousArray<Element>, _ offsets: Range<Int>) -> Void
    ) {
        var index = range.lowerBound
        while index < range.upperBound {
            let place = place(of: index)
            let chunk = groups[place.group][place.chunk]
            let last = Swift.min(chunk.count, place.offset + range.upperBound - index)
            body(chunk, place.offset..<last)
            index += last - place.offset
        }
    }

    @inlinable
    package func makeIterator() -> Iterator { Iterator(self) }

    @inlinable
    @inline(__always)
    func place(of index: Int) -> (group: Int, chunk: Int, offset: Int) {
        precondition(start <= index && index < end, "index out of range")
        let position = index - origin
        return (position >> 16 - groupsRemoved, position >> 8 & 0xFF, position & 0xFF)
    }
}

extension ChunkedArray: Sendable where Element: Sendable {}
