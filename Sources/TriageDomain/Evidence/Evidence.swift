// Evidence of a case as the World keeps it: what it is, where its bytes are, and whether they still
// are. The bytes themselves lie in the vault, which the domain does not know.

package import TriageBase

/// Whether the bytes of evidence are there.
///
/// Raw values equal the API's.
package enum EvidenceState: UInt8, CaseIterable, Sendable {
    case stored = 1
    case erased = 2
}

/// On which ground something is erased.
///
/// Raw values equal the API's.
package enum ErasureGround: UInt8, CaseIterable, Sendable {
    case retentionEnded = 1
    case dataSubjectRequest = 2
    case order = 3
    case notToBeKept = 4
}

/// Why something was erased for good.
///
/// In a command and an event, `principal` and `erasedAt` are not yet set.
package struct Erasure: Hashable, Sendable {
    package var ground: ErasureGround
    /// The authority relied on, verbatim.
    package var legalBasis: String
    /// Sensitive.
    package var reason: String
    package var principal: PrincipalIndex
    package var erasedAt: WallTime

    package init(
        ground: ErasureGround, legalBasis: String, reason: String,
        principal: PrincipalIndex = .none, erasedAt: WallTime = .epoch
    ) {
        self.ground = ground
        self.legalBasis = legalBasis
        self.reason = reason
        self.principal = principal
        self.erasedAt = erasedAt
    }
}

/// What is attached to a case: an object that the vault has, and what is said of it.
package struct AttachedObject: Hashable, Sendable {
    /// Type and subtype, lower case.
    package var mediaType: String
    /// What it shows; sensitive.
    ///
    /// ``Erased/text`` once the evidence was erased, if there was one.
    package var caption: String
    /// Its name in the vault.
    package var object: ObjectName
    /// SHA-256 of the plaintext.
    package var sha256: Digest
    /// Bytes of the plaintext.
    package var size: Int

    package init(
        mediaType: String, caption: String, object: ObjectName, sha256: Digest, size: Int
    ) {
        self.mediaType = mediaType
        self.caption = caption
        self.object = object
        self.sha256 = sha256
        self.size = size
    }
}

/// One object of evidence.
package struct Evidence: Sendable {
    package var number: EvidenceNumber
    package var caseNumber: CaseNumber
    package var attachment: AttachedObject
    package var principal: PrincipalIndex
    package var attachedAt: WallTime
    /// How it was erased; nil while it is stored.
    package var erasure: Erasure?
    /// Journal sequence of the last change.
    package var revision: UInt64

    package init(
        number: EvidenceNumber, caseNumber: CaseNumber, attachment: AttachedObject,
        principal: PrincipalIndex, attachedAt: WallTime, erasure: Erasure? = nil, revision: UInt64
    ) {
        self.number = number
        self.caseNumber = caseNumber
        self.attachment = attachment
        self.principal = principal
        self.attachedAt = attachedAt
        self.erasure = erasure
        self.revision = revision
    }

    package var state: EvidenceState { erasure == nil ? .stored : .erased }

    /// Of what was erased nothing is said any more.
    mutating func eraseCaption() {
        if !attachment.caption.isEmpty { attachment.caption = Erased.text }
    }
}
