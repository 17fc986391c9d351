// One connection, without its socket.

import Wire

/// One connection's side of the conversation: bytes in, bytes out. It knows the protocols and no sockets; `EchoServer`
/// does the input and output that it asks for.
///
/// Backpressure is one rule: while more than `pendingBytesMax` wait to be sent, nothing is read, neither from the
/// socket nor from what was received before. So a client that does not read costs at most what one message can make it
/// owe, and gets no further than its own buffers.
struct Session: ~Copyable {
    /// What is being read.
    enum Phase {
        case head
        /// A body of this many more bytes.
        case body(Int)
        case chunks(ChunkedDecoder)
        case webSocket
        /// The last word has been said: everything further is thrown away.
        case over
    }

    /// Output that may wait before reading stops. 64 KiB: several times what a fast client has under way.
    static let pendingBytesMax = 65_536
    /// A message or a body, which is gathered before it is sent back. 16 MiB: what the Autobahn cases ask for.
    static let messageBytesMax = 16 << 20
    /// Frames of one message. One Autobahn case sends 4 MiB in 65,536 fragments of 64 bytes and an empty last one.
    static let fragmentsMax = 65_537

    var phase = Phase.head
    var outbox = Outbox()
    /// Received and not yet understood: half a head, or what came while reading had stopped.
    private var input = ByteBuffer()
    /// The message or body so far.
    var message = ByteBuffer()
    var framer = HTTPHeadFramer()
    var reply = Reply()
    var decoder = WebSocketDecoder()
    /// True exactly when the client has ended its side.
    private(set) var inputHasEnded = false

    init() {}

    /// True exactly when more input would be used at once.
    var wantsInput: Bool { !inputHasEnded && outbox.pendingBytes < Session.pendingBytesMax }

    /// True exactly when the last word has been said and taken by the kernel.
    var hasFinished: Bool {
        if outbox.pendingBytes > 0 { return false }
        if case .over = phase { return true }
        return inputHasEnded
    }

    /// Takes what was received; the bytes may be changed.
    mutating func receive(_ bytes: UnsafeMutableBufferPointer<UInt8>) {
        if input.isEmpty {
            let taken = take(bytes)
            input.append(UnsafeBufferPointer(rebasing: bytes[taken...]))
        } else {
            input.append(UnsafeBufferPointer(bytes))
            resume()
        }
    }

    /// The client has ended its side; what it had asked for before is still answered.
    mutating func receiveEnd() {
        inputHasEnded = true
    }

    /// The kernel has taken `count` bytes of output: perhaps there is room to go on.
    mutating func didSend(_ count: Int) {
        outbox.didSend(count)
        resume()
    }

    private mutating func resume() {
        if input.isEmpty { return }
        let taken = take(input.bytes)
        input.removeFirst(taken)
    }

    /// Goes as far as the bytes and the outbox allow; returns how many bytes were used.
    private mutating func take(_ bytes: UnsafeMutableBufferPointer<UInt8>) -> Int {
        var taken = 0
        while outbox.pendingBytes < Session.pendingBytesMax {
            let rest = UnsafeMutableBufferPointer(rebasing: bytes[taken...])
            guard let count = step(rest) else { break }
            taken += count
        }
        return taken
    }

    /// One step: returns the bytes that it used, nil if more are needed first.
    private mutating func step(_ rest: UnsafeMutableBufferPointer<UInt8>) -> Int? {
        switch phase {
        case .over: rest.isEmpty ? nil : rest.count
        case .webSocket: webSocketStep(rest)
        case .head, .body, .chunks: httpStep(rest)
        }
    }
}
