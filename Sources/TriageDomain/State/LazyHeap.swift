// A priority queue whose entries may go stale: what they stand for moved on. Knows nothing of what
// they stand for; its owner says which are current.

/// A binary min-heap that is cleaned from time to time instead of on every change.
///
/// The same entry may be in it several times. Its size stays within twice what was current at the
/// last cleaning, plus 1,024.
struct LazyHeap<Element: Comparable & Sendable>: Sendable {
    private(set) var elements: ContiguousArray<Element> = []
    private var cleaningCount = 1_024

    /// The least entry, stale or not.
    var first: Element? { elements.first }

    /// Adds an entry.
    ///
    /// - Complexity: O(log n), amortised; O(1) when entries come in ascending order.
    mutating func push(_ element: Element, isCurrent: (Element) -> Bool) {
        if elements.count >= cleaningCount { clean(isCurrent) }
        elements.append(element)
        var child = elements.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard elements[child] < elements[parent] else { return }
            elements.swapAt(child, parent)
            child = parent
        }
    }

    /// Removes the least entries that are stale, so that ``first`` is current.
    @inline(__always)
    mutating func settle(isCurrent: (Element) -> Bool) {
        while let least = elements.first, !isCurrent(least) { removeFirst() }
    }

    /// Every entry up to `limit`, stale ones included, in no order.
    func collect(upTo limit: Element) -> [Element] {
        var found: [Element] = []
        var pending = elements.isEmpty ? [] : [0]
        while let place = pending.popLast() {
            guard elements[place] <= limit else { continue }
            found.append(elements[place])
            for child in [2 * place + 1, 2 * place + 2] where child < elements.count {
                pending.append(child)
            }
        }
        return found
    }

    /// Fills the empty heap.
    mutating func load(_ all: [Element]) {
        elements = ContiguousArray(all.sorted())
        cleaningCount = 1_024 + 2 * elements.count
    }

    private mutating func removeFirst() {
        let last = elements.removeLast()
        guard !elements.isEmpty else { return }
        elements[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < elements.count && elements[child] < elements[least] {
                least = child
            }
            if least == parent { return }
            elements.swapAt(parent, least)
            parent = least
        }
    }

    /// Drops what is stale or there twice; what is sorted is a heap.
    private mutating func clean(_ isCurrent: (Element) -> Bool) {
        var kept = elements.filter(isCurrent)
        kept.sort()
        elements.removeAll(keepingCapacity: true)
        for element in kept where elements.last != element { elements.append(element) }
        cleaningCount = 1_024 + 2 * elements.count
    }
}
