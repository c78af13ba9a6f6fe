// The few real functions that drawing needs, from the C library.

internal import Foundation

/// Elementary functions.
enum Real {
    /// Natural logarithm; `x` above 0.
    static func log(_ x: Double) -> Double { Foundation.log(x) }
    /// e to the power of `x`.
    static func exponential(_ x: Double) -> Double { Foundation.exp(x) }
    /// `base` to the power of `exponent`; `base` above 0.
    static func power(_ base: Double, _ exponent: Double) -> Double {
        Foundation.pow(base, exponent)
    }
    /// Cosine of radians.
    static func cosine(_ x: Double) -> Double { Foundation.cos(x) }
}
