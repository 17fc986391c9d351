/// The pieces of one send, in the order in which they go out.

import Glibc

/// Where the caller gathers a send's pieces: addresses and lengths only, no bytes are copied.
///
/// A handle on memory that belongs to the loop: copies name the same buffer, and filling it allocates nothing.
package struct IOVectorBuffer {
    /// Pieces of one send at most. 16: a connection's inline runs and a control record; longer backlogs take more
    /// sends.
    package static let piecesMax = 16

    struct Contents {
        var count = 0
        var byteCount = 0
    }

    let pieces: UnsafeMutablePointer<iovec>
    let contents: UnsafeMutablePointer<Contents>

    /// A buffer of its own, for tests of what fills one; give it back with `deallocate()`.
    package init() {
        pieces = .allocate(capacity: IOVectorBuffer.piecesMax)
        pieces.initialize(repeating: iovec(), count: IOVectorBuffer.piecesMax)
        contents = .allocate(capacity: 1)
        contents.initialize(to: Contents())
    }

    /// Gives back a buffer made by `init()`; the loop's own goes with the loop.
    package func deallocate() {
        pieces.deallocate()
        contents.deallocate()
    }

    /// Pieces held.
    package var count: Int { contents.pointee.count }
    /// Bytes of all pieces.
    package var byteCount: Int { contents.pointee.byteCount }
    /// True exactly when no further piece may be appended.
    package var isFull: Bool { contents.pointee.count == IOVectorBuffer.piecesMax }

    /// Forgets all pieces.
    package func removeAll() {
        contents.pointee = Contents()
    }

    /// Adds a piece; empty ones are left out. The bytes must stay valid and unchanged until the send's completion.
    package func append(_ bytes: UnsafeRawPointer, _ count: Int) {
        precondition(count >= 0, "a piece has a length")
        if count == 0 { return }
        let index = contents.pointee.count
        precondition(index < IOVectorBuffer.piecesMax, "one send has at most 16 pieces")
        pieces[index].iov_base = UnsafeMutableRawPointer(mutating: bytes)
        pieces[index].iov_len = count
        contents.pointee.count = index &+ 1  // at most 16
        contents.pointee.byteCount += count
    }

    /// All pieces, for a simulated kernel.
    var all: [UnsafeRawBufferPointer] { (0..<count).map { self[$0] } }

    /// One piece, for tests and for backends.
    package subscript(index: Int) -> UnsafeRawBufferPointer {
        precondition(index >= 0 && index < count, "no such piece")
        return UnsafeRawBufferPointer(start: pieces[index].iov_base, count: pieces[index].iov_len)
    }
}
