// Measures what encryption costs: one message, one key, one signature, one salt.

import TriageBase
import TriageCrypto

extension StorageBench {
    /// Seals and opens messages of the sizes that a batch, a report's text and a snapshot's block
    /// have; nanoseconds a message of the thread's own processor time.
    func ciphers() throws {
        var random = RandomBytes()
        let key = SecretKey(random: &random)
        var cipher = try MessageCipher(key)
        let additional = [UInt8](repeating: 1, count: 32)
        for (count, rounds) in [(100, 200_000), (400, 200_000), (4_096, 100_000), (65_536, 5_000)] {
            var message = [UInt8](repeating: 7, count: count)
            var span = message.mutableSpan
            let nonce = random.nonce()
            let sealing = processorSeconds {
                for _ in 0..<rounds {
                    _ = cipher.seal(&span, nonce: nonce, additional: additional.span)
                }
            }
            var tag = cipher.seal(&span, nonce: nonce, additional: additional.span)
            var opening = 0.0
            for _ in 0..<rounds {
                opening += try processorSeconds {
                    try cipher.open(&span, nonce: nonce, tag: tag, additional: additional.span)
                }
                tag = cipher.seal(&span, nonce: nonce, additional: additional.span)
            }
            report("crypto.seal_\(count)", sealing / Double(rounds) * 1e9, "ns")
            report("crypto.open_\(count)", opening / Double(rounds) * 1e9, "ns")
        }
        try keysAndSignatures(key, &random)
    }

    private func keysAndSignatures(_ key: SecretKey, _ random: inout RandomBytes) throws {
        let rounds = 2_000
        let salt = [UInt8](repeating: 1, count: 32)
        let info = [UInt8](repeating: 2, count: 48)
        let deriving = try processorSeconds {
            for _ in 0..<rounds { _ = try key.derive(salt: salt.span, info: info.span) }
        }
        report("crypto.derive", deriving / Double(rounds) * 1e9, "ns")
        let signer = try SigningKey(seed: key)
        var signature = try signer.sign(info.span)
        let signing = try processorSeconds {
            for _ in 0..<rounds { signature = try signer.sign(info.span) }
        }
        report("crypto.sign", signing / Double(rounds) * 1e9, "ns")
        var isGood = true
        let verifying = processorSeconds {
            for _ in 0..<rounds {
                isGood = signer.verifyingKey.verifies(signature, of: info.span) && isGood
            }
        }
        guard isGood else { throw CryptoError.authenticationFailed }
        report("crypto.verify", verifying / Double(rounds) * 1e9, "ns")
        var words: UInt64 = 0
        let drawing = processorSeconds {
            for _ in 0..<1_000_000 { words ^= random.word() }
        }
        report("crypto.random_word", drawing * 1e3, words == 0 ? "ns (zero)" : "ns")
    }
}
