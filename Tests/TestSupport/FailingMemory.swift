// Memory of nghttp2 that runs out: a pool whose n-th allocation fails. Knows nothing of what the
// memory is for.

// A pool can only be changed by what sees into its module, which no release build allows; no test
// is built for release either.
#if DEBUG
    internal import CNghttp2
    @testable package import TriageHTTP2

    /// Puts itself in front of a pool: fails when it is told to, and counts what is not given back.
    @safe package final class FailingMemory {
        private struct Counter {
            var count = 0
            var outstanding = 0
            let failsAt: Int
            let failsForGood: Bool

            /// True when this allocation is to fail.
            mutating func step() -> Bool {
                count += 1
                return count == failsAt || (failsForGood && count > failsAt && failsAt > 0)
            }
        }

        @unsafe private struct State {
            var counter: Counter
            let inner: nghttp2_mem
        }

        /// What the session under test is given.
        package let pool = HTTP2Memory()
        private let state: UnsafeMutablePointer<State>

        /// Makes a pool whose allocation of a number fails.
        ///
        /// - Parameters:
        ///   - failsAt: Its number from 1; 0: none.
        ///   - forGood: All those after it fail as well.
        package init(failsAt: Int, forGood: Bool) {
            unsafe state = .allocate(capacity: 1)
            unsafe state.initialize(
                to: State(
                    counter: Counter(failsAt: failsAt, failsForGood: forGood),
                    inner: pool.table.pointee))
            unsafe pool.table.pointee = nghttp2_mem(
                mem_user_data: state,
                malloc: { size, user in
                    unsafe FailingMemory.allocate(user, isNew: true) { inner in
                        unsafe inner.malloc?(size, inner.mem_user_data)
                    }
                },
                free: { pointer, user in
                    guard unsafe pointer != nil, let state = unsafe FailingMemory.state(user) else {
                        return
                    }
                    unsafe state.pointee.counter.outstanding -= 1
                    let inner = unsafe state.pointee.inner
                    unsafe inner.free?(pointer, inner.mem_user_data)
                },
                calloc: { count, size, user in
                    unsafe FailingMemory.allocate(user, isNew: true) { inner in
                        unsafe inner.calloc?(count, size, inner.mem_user_data)
                    }
                },
                realloc: { pointer, size, user in
                    unsafe FailingMemory.allocate(user, isNew: unsafe pointer == nil) { inner in
                        unsafe inner.realloc?(pointer, size, inner.mem_user_data)
                    }
                })
        }

        private static func allocate(
            _ user: UnsafeMutableRawPointer?, isNew: Bool,
            _ body: (nghttp2_mem) -> UnsafeMutableRawPointer?
        ) -> UnsafeMutableRawPointer? {
            guard let state = unsafe state(user), unsafe !state.pointee.counter.step() else {
                return nil
            }
            if isNew { unsafe state.pointee.counter.outstanding += 1 }
            return unsafe body(state.pointee.inner)
        }

        private static func state(_ user: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<State>?
        {
            unsafe user?.assumingMemoryBound(to: State.self)
        }

        /// Allocations asked for so far.
        package var count: Int { unsafe state.pointee.counter.count }
        /// Allocations that were not freed.
        package var outstanding: Int { unsafe state.pointee.counter.outstanding }

        deinit {
            unsafe pool.table.pointee = state.pointee.inner
            unsafe state.deallocate()
        }
    }
#endif
