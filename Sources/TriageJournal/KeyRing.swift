package import TriageCrypto

package final class KeyRing: Sendable {
    package let dataKeyInUse: UInt32
    let keys: [UInt32: SecretKey]
    package init(dataKeyInUse: UInt32, keys: [UInt32: SecretKey]) { self.dataKeyInUse = dataKeyInUse; self.keys = keys }
    package func dataKey(_ number: UInt32) -> SecretKey? { keys[number] }
}
