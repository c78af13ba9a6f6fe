// The small codings of headers: timeout, percent encoding, base64, names and values.

import Testing
import TriageBase
import TriageGRPC

@Suite struct TimeoutTests {
    @Test(arguments: [
        ("1H", 3_600_000_000_000), ("2M", 120_000_000_000), ("3S", 3_000_000_000),
        ("4m", 4_000_000), ("5u", 5_000), ("6n", 6), ("0S", 0), ("99999999n", 99_999_999),
        ("00000001S", 1_000_000_000), ("99999999H", UInt64.max),
    ]) func valid_isParsed(text: String, nanoseconds: UInt64) {
        #expect(parseTimeout(text) == nanoseconds)
    }

    @Test(arguments: [
        "", "S", "1", "1s", "1h", "-1S", "+1S", "1 S", " 1S", "1S ", "123456789S", "1.5S", "S1",
        "0x1S", "1SS", "१S",
    ]) func malformed_isRefused(text: String) {
        #expect(parseTimeout(text) == nil)
    }

    @Test func formatted_isParsedBackAndNeverShorter() {
        var random = SeededRandom(seed: 7)
        for shift in 0..<62 {
            let nanoseconds = random.next() >> UInt64(62 - shift)
            let text = Timeout.format(nanoseconds: nanoseconds)
            #expect(text.count <= 9)
            let parsed = parseTimeout(text) ?? 0
            #expect(parsed >= nanoseconds)
            #expect(parsed - nanoseconds <= nanoseconds / 100_000)
        }
        #expect(Timeout.format(nanoseconds: .max).count <= 9)
    }
}

@Suite struct PercentEncodingTests {
    @Test(arguments: [
        ("", ""), ("plain text, ~", "plain text, ~"), ("100%", "100%25"), ("a\nb", "a%0Ab"),
        ("é", "%C3%A9"), ("\u{7F}", "%7F"), ("☃", "%E2%98%83"),
    ]) func text_isEncodedAndDecoded(text: String, encoded: String) {
        #expect(PercentEncoding.encode(text) == Array(encoded.utf8))
        #expect(percentDecode(Array(encoded.utf8)) == text)
    }

    @Test(arguments: ["%", "%4", "%zz", "a%", "%%41"]) func invalid_isKept(text: String) {
        let decoded = percentDecode(Array(text.utf8))
        #expect(decoded == (text == "%%41" ? "%A" : text))
    }

    @Test func cut_isNeverInsideACharacter() {
        for limit in 0..<40 {
            let encoded = PercentEncoding.encode("aé☃b☃☃é", bytesMax: limit)
            #expect(encoded.count <= limit)
            #expect(!percentDecode(encoded).contains("\u{FFFD}"))
        }
    }
}

@Suite struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"),
        ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy"),
    ]) func vectorsOfRFC4648_bothWays(text: String, encoded: String) {
        let bytes = Array(text.utf8)
        #expect(base64Encode(bytes) == Array(encoded.utf8))
        #expect(base64Decode(encoded) == bytes)
        let padded = encoded + String(repeating: "=", count: (4 - encoded.utf8.count % 4) % 4)
        #expect(base64Decode(padded) == bytes)
    }

    @Test(arguments: ["Z", "Zm9vY", "Zg===", "Z=g=", "Zh", "Zm9", "Zm-v", "====", "Zg="])
    func malformed_isRefused(text: String) {
        #expect(base64Decode(text) == nil)
    }

    @Test func allBytes_roundTrip() {
        for count in 0..<80 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 37 + count) }
            #expect(base64Decode(base64Encode(bytes)) == bytes)
        }
    }
}

@Suite struct MetadataTests {
    @Test func names_areLowerCaseOnly() {
        #expect(isValidName("x-request_id.2-bin"))
        for name in ["", "X", "a b", "a:b", "é", "a\n"] {
            #expect(!isValidName(name))
        }
    }

    @Test func values_arePrintable() {
        #expect(isValidValue("a b~!"))
        for value in ["\r", "\n", "\0", "é", "\u{7F}"] {
            #expect(!isValidValue(value))
        }
    }

    @Test func reservedAndBinaryNames_areTold() {
        #expect(isReserved("grpc-status"))
        #expect(isReserved(":path"))
        #expect(!isReserved("grp"))
        #expect(!isReserved("x-grpc-a"))
        #expect(isBinary("a-bin"))
        #expect(!isBinary("-bin"))
        #expect(!isBinary("a-bim"))
    }
}
