// Keys in memory: derivation against RFC 5869, wrapping, and that nothing prints them.

import Testing
import TriageBase

@testable import TriageCrypto

@Suite struct SecretKeyTests {
    /// RFC 5869 appendix A.1 to A.3, the cases of SHA-256.
    @Test func derivation_isThatOfTheRFC() throws {
        let cases: [(ikm: String, salt: String, info: String, okm: String)] = [
            (
                String(repeating: "0b", count: 22), "000102030405060708090a0b0c",
                "f0f1f2f3f4f5f6f7f8f9",
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
                    + "34007208d5b887185865"
            ),
            (
                hex((0x00..<0x50).map { UInt8($0) }), hex((0x60..<0xB0).map { UInt8($0) }),
                hex((0xB0...0xFF).map { UInt8($0) }),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
                    + "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
                    + "cc30c58179ec3e87c14c01d5c1f3434f1d87"
            ),
            (
                String(repeating: "0b", count: 22), "", "",
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                    + "9d201395faa4b61a96c8"
            ),
        ]
        for (ikm, salt, info, okm) in cases {
            let inputs = (bytes(hex: ikm), bytes(hex: salt), bytes(hex: info))
            var output = [UInt8](repeating: 0, count: okm.utf8.count / 2)
            var span = output.mutableSpan
            try deriveBytes(
                from: inputs.0.span, salt: inputs.1.span, info: inputs.2.span, into: &span)
            #expect(hex(output) == okm)
        }
    }

    @Test func derivedKeys_differByEveryInput() throws {
        var random = RandomBytes(replaying: 1)
        let key = SecretKey(random: &random)
        let salt = [UInt8](repeating: 1, count: 32)
        let info = Array("triaged file".utf8)
        let derived = try key.derive(salt: salt.span, info: info.span)
        let again = try key.derive(salt: salt.span, info: info.span)
        #expect(derived.isEqual(to: again))
        let others = [
            try key.derive(salt: info.span, info: info.span),
            try key.derive(salt: salt.span, info: salt.span),
            try SecretKey(random: &random).derive(salt: salt.span, info: info.span),
            key,
        ]
        for other in others { #expect(!derived.isEqual(to: other)) }
    }

    @Test func wrappedKey_comesOutAgain_andOnlyForItsPlace() throws {
        var random = RandomBytes(replaying: 2)
        let key = SecretKey(random: &random)
        var wrapper = try MessageCipher(SecretKey(random: &random))
        var wrapped = [UInt8](repeating: 0, count: SecretKey.byteCount)
        var target = wrapped.mutableSpan
        let place: [UInt8] = [1]
        let other: [UInt8] = [2]
        let tag = key.seal(
            into: &target, with: &wrapper, nonce: Nonce(3, 4), additional: place.span)
        let isHidden = !equal(key.span, wrapped)
        #expect(isHidden)
        let opened = try SecretKey(
            opening: wrapped.span, with: &wrapper, nonce: Nonce(3, 4), tag: tag,
            additional: place.span)
        #expect(opened.isEqual(to: key))
        do throws(CryptoError) {
            _ = try SecretKey(
                opening: wrapped.span, with: &wrapper, nonce: Nonce(3, 4), tag: tag,
                additional: other.span)
            Issue.record("opened at another place")
        } catch { #expect(error == .authenticationFailed) }
    }

    /// Computed with Python: hashlib.sha256(b"label" + bytes(range(32))).digest()[:8].
    @Test func identifier_isTheHashOfLabelAndKey() {
        let stored = (0..<32).map { UInt8($0) }
        let key = SecretKey(copying: stored.span)
        #expect(key.identifier(label: "label") == 0x3B2C61A8113619AB)
    }

    @Test func nothingPrintsAKey() {
        let stored = [UInt8](repeating: 0x41, count: 32)
        let key = SecretKey(copying: stored.span)
        var text = "\(key)" + String(reflecting: key)
        dump(key, to: &text)
        dump([key], to: &text)
        #expect(!text.contains("65") && !text.contains("AAAA") && !text.contains("memory"))
        #expect(text.hasPrefix("secret key"))
    }

    @Test func revealedKey_isWhatWasCopied_andWipes() {
        let stored = (0..<32).map { UInt8($0 * 7 & 0xFF) }
        let key = SecretKey(copying: stored.span)
        var shown = [UInt8](repeating: 0, count: 32)
        var span = shown.mutableSpan
        key.reveal(into: &span)
        #expect(shown == stored)
        span = shown.mutableSpan
        wipe(&span)
        #expect(shown == [UInt8](repeating: 0, count: 32))
    }

    @Test func comparison_seesEveryBit_andLengths() {
        let a = [UInt8](repeating: 0x5A, count: 33)
        #expect(isEqual(a, a))
        #expect(isEqual([], []))
        #expect(!isEqual(a, []))
        for bit in 0..<a.count * 8 {
            var b = a
            b[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!isEqual(a, b))
        }
    }
}

private func isEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    equalInConstantTime(a.span, b.span)
}
