// Ed25519 against RFC 8032, and what must not verify.

import Testing
import TriageBase
import TriageCrypto

@Suite struct SigningKeyTests {
    struct Vector: Sendable, CustomTestStringConvertible {
        let name: String
        let seed: String
        let publicKey: String
        let message: String
        let signature: String
        var testDescription: String { name }
    }

    /// RFC 8032 §7.1, tests 1 to 3 and "SHA(abc)".
    static let vectors = [
        Vector(
            name: "1: nothing",
            seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            publicKey: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            message: "",
            signature: "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
                + "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        Vector(
            name: "2: one byte",
            seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            publicKey: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            message: "72",
            signature: "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                + "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        Vector(
            name: "3: two bytes",
            seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            publicKey: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            message: "af82",
            signature: "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                + "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
        Vector(
            name: "SHA(abc)",
            seed: "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            publicKey: "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            message: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            signature: "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
                + "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"),
    ]

    @Test(arguments: vectors)
    func publishedVector_holdsBothWays(vector: Vector) throws {
        let seed = bytes(hex: vector.seed)
        let key = try SigningKey(seed: SecretKey(copying: seed.span))
        #expect(hex(key.verifyingKey.copy) == vector.publicKey)
        let message = bytes(hex: vector.message)
        let signature = try key.sign(message.span)
        #expect(hex(signature.copy) == vector.signature)
        let published = bytes(hex: vector.publicKey)
        let stored = VerifyingKey(copying: published.span)
        #expect(verifies(stored, signature, message))
    }

    @Test func anythingElse_doesNotVerify() throws {
        var random = RandomBytes(replaying: 4)
        let key = try SigningKey(seed: SecretKey(random: &random))
        let message = Array("size 7, root abc".utf8)
        let signature = try key.sign(message.span)
        #expect(verifies(key.verifyingKey, signature, message))
        #expect(!verifies(key.verifyingKey, signature, message + [0]))
        #expect(!verifies(key.verifyingKey, signature, Array(message.dropLast())))
        for bit in 0..<Signature.byteCount * 8 {
            var changed = [UInt8](copying: signature.span)
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            let other = Signature(copying: changed.span)
            #expect(!verifies(key.verifyingKey, other, message))
        }
        let stranger = try SigningKey(seed: SecretKey(random: &random)).verifyingKey
        #expect(!verifies(stranger, signature, message))
        let ones = [UInt8](repeating: 0xFF, count: 32)
        let noKey = VerifyingKey(copying: ones.span)
        #expect(!verifies(noKey, signature, message))
    }

    @Test func nothingPrintsASigningKey() throws {
        let stored = [UInt8](repeating: 65, count: 32)
        let key = try SigningKey(seed: SecretKey(copying: stored.span))
        var text = "\(key)"
        dump(key, to: &text)
        #expect(text.hasPrefix("signing key- signing key"))
        #expect(!text.contains("pointer") && !text.contains("0x"))
    }
}

extension VerifyingKey {
    fileprivate var copy: [UInt8] { [UInt8](copying: span) }
}

extension Signature {
    fileprivate var copy: [UInt8] { [UInt8](copying: span) }
}

private func verifies(_ key: VerifyingKey, _ signature: Signature, _ message: [UInt8]) -> Bool {
    key.verifies(signature, of: message.span)
}
