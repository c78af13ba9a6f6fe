// Fingerprints are journaled: what they are today they must be for ever.

import Testing
import TriageBase

@Suite struct Hash128Tests {
    /// Computed by an implementation of its own, in Python, from the description alone.
    @Test(
        arguments: [
            (0, 0x86B8_F348_C311_5EAE, 0x14D6_253A_787E_6132),
            (1, 0xE206_753E_06BC_C781, 0xCE6B_3A3F_9086_20B7),
            (7, 0xCFD7_BF7F_EA22_B4A2, 0x9A12_0F39_66A5_A9A9),
            (8, 0x4A2A_6B4E_2233_5151, 0x2226_0672_86C5_1968),
            (9, 0xEA52_B53E_8432_806D, 0xFC4D_A962_EE80_F2BD),
            (16, 0x7952_5477_12FC_71F1, 0xFA5E_9A45_20DC_3F9A),
            (37, 0xE013_6CD2_7835_F39A, 0x571C_8D51_541C_1B28),
            (255, 0x7E4A_463F_CA74_CFB2, 0x7B49_37DB_D7ED_443D),
        ] as [(Int, UInt64, UInt64)])
    func ofSoManyBytes(count: Int, high: UInt64, low: UInt64) {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 + 3) }
        let hash = Hash128(of: bytes.span, seed: 0x7265_7175_6573_7421)
        #expect(hash == Hash128(high: high, low: low))
    }

    @Test func aPrincipalIsItsText_howeverItWasMade() {
        let first = Principal(spiffeID: "spiffe://a/b")
        let again = Principal(journaled: "spiffe://a/b")
        #expect(first == again)
        #expect(first.fingerprint == again.fingerprint)
        #expect(Set([first, again]).count == 1)
        #expect(first != Principal(journaled: "spiffe://a/B"))
    }
}
