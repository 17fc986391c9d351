/// Where the descriptions of sends lie until the kernel has read them.

import Glibc

/// Message headers with their pieces, for sends of more than one piece. The kernel keeps neither after it has taken the
/// entry, so all of it is reused after each submission.
struct SendScratch: ~Copyable {
    /// Messages between two submissions; more force an early one. 1,024: 272 KiB of pieces, touched as far as used.
    static let messagesMax = 1024

    private let messages: UnsafeMutablePointer<msghdr>
    private let pieces: UnsafeMutablePointer<iovec>
    private var count = 0

    init() {
        messages = .allocate(capacity: SendScratch.messagesMax)
        pieces = .allocate(capacity: SendScratch.messagesMax * IOVectorBuffer.piecesMax)
    }

    deinit {
        messages.deallocate()
        pieces.deallocate()
    }

    var hasRoom: Bool { count < SendScratch.messagesMax }

    /// Copies a send's pieces; the result is valid until `removeAll`.
    mutating func append(_ send: IOVectorBuffer) -> UnsafeMutablePointer<msghdr> {
        precondition(hasRoom, "the caller submits first when the scratch is full")
        let place = pieces + count * IOVectorBuffer.piecesMax
        place.update(from: send.pieces, count: send.count)
        let message = messages + count
        message.initialize(to: msghdr())
        message.pointee.msg_iov = place
        message.pointee.msg_iovlen = send.count
        count &+= 1  // at most messagesMax
        return message
    }

    mutating func removeAll() {
        count = 0
    }
}
