// Unpredictable bytes in the small portions that nonces, salts and keys need: drawn from OpenSSL's
// generator a page at a time, because a call of it costs more than the bytes.

internal import COpenSSL
internal import TriageBase

/// A source of random bytes with a buffer of its own.
///
/// What was handed out is wiped from the buffer at once, the rest when the value goes. A forked
/// child would hand out the same bytes: this system does not fork.
///
/// `@safe`, `@unchecked Sendable`: the pointer never leaves the value, which frees it; every access
/// is a mutating method within `capacity`.
@safe package struct RandomBytes: ~Copyable, @unchecked Sendable {
    private let buffer: UnsafeMutablePointer<UInt8>
    private var used = RandomBytes.capacity
    private var replay: SeededRandom?

    private static let capacity = 4_096

    /// A source that nobody can foretell.
    package init() {
        unsafe buffer = .allocate(capacity: Self.capacity)
    }

    /// A source whose bytes follow from a seed: for simulations and files of known content, never
    /// in a server.
    package init(replaying seed: UInt64) {
        self.init()
        replay = SeededRandom(seed: seed)
    }

    deinit {
        unsafe OPENSSL_cleanse(buffer, Self.capacity)
        unsafe buffer.deallocate()
    }

    /// Fills `target`.
    package mutating func fill(_ target: inout MutableSpan<UInt8>) {
        unsafe target.withUnsafeMutableBufferPointer { target in
            if let base = target.baseAddress { unsafe fill(base, target.count) }
        }
    }

    /// Eight random bytes as a number.
    package mutating func word() -> UInt64 {
        var word: UInt64 = 0
        unsafe withUnsafeMutableBytes(of: &word) { raw in
            if let base = raw.baseAddress {
                unsafe fill(base.assumingMemoryBound(to: UInt8.self), raw.count)
            }
        }
        return UInt64(littleEndian: word)
    }

    /// A random nonce.
    package mutating func nonce() -> Nonce {
        Nonce(word(), UInt32(truncatingIfNeeded: word()))
    }

    /// Fills `count` bytes at `target`.
    mutating func fill(_ target: UnsafeMutablePointer<UInt8>, _ count: Int) {
        var done = 0
        while done < count {
            if used == Self.capacity { refill() }
            let portion = min(count - done, Self.capacity - used)
            unsafe (target + done).update(from: buffer + used, count: portion)
            unsafe OPENSSL_cleanse(buffer + used, portion)
            used += portion
            done += portion
        }
    }

    /// Draws a bufferful.
    ///
    /// The generator was seeded by the kernel; it fails only when OpenSSL itself is broken, and
    /// going on without randomness would be worse than stopping.
    private mutating func refill() {
        if replay != nil {
            for index in 0..<Self.capacity {
                unsafe buffer[index] = UInt8(truncatingIfNeeded: replay?.next() ?? 0)
            }
        } else {
            let isDone = unsafe RAND_bytes(buffer, Int32(Self.capacity))
            invariant(isDone == 1, "the random generator failed")
        }
        used = 0
    }
}
