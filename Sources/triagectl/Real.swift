// The few real functions that drawing needs, from the C library.

internal import Glibc

/// Elementary functions.
enum Real {
    /// Natural logarithm; `x` above 0.
    static func log(_ x: Double) -> Double { Glibc.log(x) }
    /// e to the power of `x`.
    static func exponential(_ x: Double) -> Double { Glibc.exp(x) }
    /// `base` to the power of `exponent`; `base` above 0.
    static func power(_ base: Double, _ exponent: Double) -> Double { Glibc.pow(base, exponent) }
    /// Cosine of radians.
    static func cosine(_ x: Double) -> Double { Glibc.cos(x) }
}
