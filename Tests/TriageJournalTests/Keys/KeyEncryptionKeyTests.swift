// How a key-encryption key may be written, and what it is called.

import Testing
import TriageBase
import TriageCrypto
import TriageJournal

@Suite struct KeyEncryptionKeyTests {
    private static let raw = (0..<32).map { UInt8(($0 * 5 + 200) & 0xFF) }
    private static let base64 = "yM3S19zh5uvw9fr/BAkOExgdIicsMTY7QEVKT1RZXmM="
    private static let digits = "c8cdd2d7dce1e6ebf0f5faff04090e13181d22272c31363b40454a4f54595e63"

    private static func read(_ text: [UInt8]) -> KeyEncryptionKey? {
        var text = text
        let key = KeyEncryptionKey(wiping: &text)
        #expect(text.allSatisfy { $0 == 0 }, "what was read is wiped")
        return key
    }

    /// Computed with Python: sha256(b"triaged key-encryption key" + key).hexdigest()[:16].
    private static let id = "717c67d7cc98d5b2"

    @Test func everyForm_isTheSameKey() {
        let forms = [
            Self.raw, Array(Self.digits.utf8), Array((Self.digits + "\n").utf8),
            Array(Self.digits.uppercased().utf8), Array(Self.base64.utf8),
            Array((Self.base64 + "\n").utf8), Array((Self.base64.dropLast() + "\n").utf8),
        ]
        for form in forms {
            #expect(Self.read(form)?.id.description == Self.id, "\(form.count) bytes")
        }
    }

    @Test(arguments: [
        "", "\n", "secret", String(digits.dropLast()), digits + "0", digits + "\n\n",
        digits + " ", String(digits.dropLast()) + "g", String(base64.dropLast(2)),
        base64 + "=", " " + base64, base64.replacing("/", with: "_"),
    ])
    func anythingElse_isNoKey(text: String) {
        #expect(Self.read(Array(text.utf8)) == nil)
    }

    @Test func writtenKey_isReadAgain() throws {
        var random = RandomBytes()
        let key = KeyEncryptionKey(SecretKey(random: &random))
        let text = key.text()
        #expect(text.count <= KeyEncryptionKey.textBytesMax && text.last == UInt8(ascii: "\n"))
        #expect(Self.read(text)?.id == key.id)
    }
}
