// The signatures of revocation lists, checked once for each authority instead of in each handshake:
// two signatures, as much work as the client's own. What changes from one handshake to the next is
// checked each time: whose list it is, its time, and who is on it.

internal import COpenSSL
internal import Synchronization
internal import TriageBase

/// The revocation lists of one context, and what has been found out about them.
@safe final class CheckedLists: Sendable {
    /// An X509 or X509_CRL with a reference of its own.
    // @unchecked Sendable: never changed; references are counted atomically.
    @safe private struct Held: @unchecked Sendable, Equatable {
        let pointer: OpaquePointer

        static func == (a: Held, b: Held) -> Bool { unsafe a.pointer == b.pointer }
    }

    /// One list.
    private struct List {
        let list: Held
        let validity: TLSValidity
        /// Neither partial nor a difference to another: it says all about whomever its issuer
        /// certified.
        let isPlain: Bool
        /// The trusted certificate under which it was found good last; held, so that no other can
        /// have its address.
        var authority: Held?
    }

    private struct State {
        var lists: [List] = []
        var checkCount = 0
    }

    /// The place of this object among a store's extra data.
    private static let index = CRYPTO_get_ex_new_index(
        CRYPTO_EX_INDEX_X509_STORE, 0, nil, nil, nil, nil)
    /// OpenSSL's own check; nil when memory ran out.
    private let check: X509_STORE_CTX_check_crl_fn?
    private let clock: (@Sendable () -> WallTime)?
    private let state = Mutex(State())

    init(clock: (@Sendable () -> WallTime)?) {
        self.clock = clock
        unsafe check = Self.openSSLCheck()
    }

    deinit {
        state.withLock { state in
            for list in state.lists {
                unsafe X509_free(list.authority?.pointer)
                unsafe X509_CRL_free(list.list.pointer)
            }
        }
    }

    /// How often lists were checked whole.
    var checkCount: Int { state.withLock { $0.checkCount } }

    /// Notes a list of the store.
    func add(_ list: OpaquePointer, _ validity: TLSValidity) {
        unsafe X509_CRL_up_ref(list)
        let isPlain = [NID_issuing_distribution_point, NID_delta_crl].allSatisfy {
            unsafe X509_CRL_get_ext_by_NID(list, $0, -1) < 0
        }
        let noted = List(list: unsafe Held(pointer: list), validity: validity, isPlain: isPlain)
        state.withLock { $0.lists.append(noted) }
    }

    /// Has the store, which must not outlive this object, ask us; false when memory ran out.
    func install(in store: OpaquePointer) -> Bool {
        guard unsafe check != nil else { return false }
        let user = unsafe Unmanaged.passUnretained(self).toOpaque()
        guard unsafe X509_STORE_set_ex_data(store, Self.index, user) == 1 else { return false }
        unsafe X509_STORE_set_check_crl(store, onCheckList)
        return true
    }

    /// What a verification uses that nobody has changed.
    private static func openSSLCheck() -> X509_STORE_CTX_check_crl_fn? {
        guard let store = unsafe X509_STORE_new() else { return nil }
        defer { unsafe X509_STORE_free(store) }
        guard let verification = unsafe X509_STORE_CTX_new() else { return nil }
        defer { unsafe X509_STORE_CTX_free(verification) }
        guard unsafe X509_STORE_CTX_init(verification, store, nil, nil) == 1 else { return nil }
        return unsafe X509_STORE_CTX_get_check_crl(verification)
    }

    fileprivate static func of(_ verification: OpaquePointer) -> CheckedLists? {
        guard let store = unsafe X509_STORE_CTX_get0_store(verification),
            let user = unsafe X509_STORE_get_ex_data(store, index)
        else { return nil }
        return unsafe Unmanaged<CheckedLists>.fromOpaque(user).takeUnretainedValue()
    }

    /// Whether a list holds for the certificate that is looked at: as OpenSSL says.
    fileprivate func check(_ verification: OpaquePointer, _ list: OpaquePointer) -> Int32 {
        guard let check = unsafe check else { return 0 }
        let held = unsafe Held(pointer: list)
        let authority = unsafe Self.authority(verification).map { unsafe Held(pointer: $0) }
        if let authority, isKnown(held, authority) { return 1 }
        let verdict = unsafe check(verification, list)
        let replaced = state.withLock { state -> Held? in
            state.checkCount += 1
            guard verdict == 1, let authority,
                let place = state.lists.firstIndex(where: { $0.list == held })
            else { return nil }
            unsafe X509_up_ref(authority.pointer)
            let old = state.lists[place].authority
            state.lists[place].authority = authority
            return old
        }
        unsafe X509_free(replaced?.pointer)
        return verdict
    }

    /// The trusted certificate by which a list is judged; nil when it is none, or another than the
    /// one that certified who is looked at.
    ///
    /// A peer's intermediate is another object in each handshake: its list is checked each time.
    private static func authority(_ verification: OpaquePointer) -> OpaquePointer? {
        guard let chain = unsafe X509_STORE_CTX_get0_chain(verification) else { return nil }
        let last = unsafe OPENSSL_sk_num(chain) - 1
        let depth = unsafe X509_STORE_CTX_get_error_depth(verification)
        guard depth >= last - 1, let anchor = unsafe OPENSSL_sk_value(chain, last),
            let issuer = unsafe X509_STORE_CTX_get0_current_issuer(verification),
            issuer == OpaquePointer(anchor)
        else { return nil }
        return unsafe issuer
    }

    private func isKnown(_ list: Held, _ authority: Held) -> Bool {
        let now = clock?() ?? .machine()
        return state.withLock { state in
            guard let known = state.lists.first(where: { $0.list == list }) else { return false }
            return known.isPlain && known.authority == authority
                && known.validity.from <= now && now < known.validity.until
        }
    }
}

/// Asked by OpenSSL for each list that it found for a certificate.
private func onCheckList(_ verification: OpaquePointer?, _ list: OpaquePointer?) -> Int32 {
    guard let verification = unsafe verification, let list = unsafe list,
        let lists = unsafe CheckedLists.of(verification)
    else { return 0 }
    return unsafe lists.check(verification, list)
}
