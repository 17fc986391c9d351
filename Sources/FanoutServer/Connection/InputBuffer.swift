/// Bytes of a request, line or frame that has not arrived whole, and how far it has been read.

import Wire

/// The input state of one connection. Idle connections own none.
struct InputBuffer {
    /// How far a request has come.
    enum RequestStage: UInt8 {
        /// Looking for the end of the head.
        case head
        /// The head is known; `bodyBytes` follow it.
        case body
        /// The head is known; chunks follow it.
        case chunks
    }

    private var bytes: UnsafeMutablePointer<UInt8>?
    /// Where the bytes that wait begin: those in front were used and go when their room is needed, so that many small
    /// requests in one buffer do not move each other.
    private var start = 0
    private(set) var count = 0
    private var capacity = 0
    /// Bytes that were already searched for a line end.
    var searched = 0
    var stage = RequestStage.head
    var framer = HTTPHeadFramer()
    var headBytes = 0
    var bodyBytes = 0
    var chunks = ChunkedDecoder(bodyBytesMax: 0)
    /// The body of a chunked request as far as it has come, or the WebSocket message that may be `$subscribe`.
    var body: [UInt8] = []
    var frames = WebSocketDecoder()

    /// Whether nothing would be lost without it.
    var isIdle: Bool { count == 0 && stage == .head && framer.isIdle && body.isEmpty && frames.isIdle }

    /// The bytes that wait.
    var waiting: UnsafeMutableBufferPointer<UInt8> {
        UnsafeMutableBufferPointer(start: bytes.map { $0 + start }, count: count)
    }

    /// Adds bytes at the end. Amortised O(count); the phases bound how much is ever kept.
    mutating func append(_ more: UnsafeMutableBufferPointer<UInt8>) {
        if count + more.count <= capacity {
            if start + count + more.count > capacity, let bytes {
                bytes.update(from: bytes + start, count: count)
                start = 0
            }
        } else {
            let grownCapacity = max(1024, max(capacity * 2, count + more.count))
            let grown = UnsafeMutablePointer<UInt8>.allocate(capacity: grownCapacity)
            if let bytes {
                grown.update(from: bytes + start, count: count)
                bytes.deallocate()
            }
            bytes = grown
            start = 0
            capacity = grownCapacity
        }
        if let base = more.baseAddress { (bytes! + start + count).update(from: base, count: more.count) }
        count += more.count
    }

    /// Forgets the first `taken` bytes behind the first `kept` ones. O(1) where nothing is kept.
    mutating func remove(_ taken: Int, after kept: Int = 0) {
        precondition(taken >= 0 && kept + taken <= count, "more input was used than there is")
        guard taken > 0, let bytes else { return }
        count -= taken
        if kept == 0 {
            start = count == 0 ? 0 : start + taken
        } else {
            let place = bytes + start + kept
            place.update(from: place + taken, count: count - kept)
        }
    }

    /// Frees the memory; to be called once, at the end.
    func deallocate() { bytes?.deallocate() }

    /// Starts over with the next request.
    mutating func nextRequest() {
        stage = .head
        framer = HTTPHeadFramer()
        chunks = ChunkedDecoder(bodyBytesMax: 0)
        body = []
    }
}

/// The input buffers in use, by index. Loop thread only.
struct InputBuffers: ~Copyable {
    private var table: UnsafeMutablePointer<InputBuffer>
    private var capacity = 16
    private var count = 0
    private var free: [UInt32] = []
    /// Bytes that all buffers hold.
    private(set) var inUse = 0

    init() { table = .allocate(capacity: capacity) }

    deinit {
        for index in 0..<count { table[index].deallocate() }
        table.deinitialize(count: count)
        table.deallocate()
    }

    subscript(index: UInt32) -> InputBuffer {
        unsafeAddress { UnsafePointer(table + Int(index)) }
        unsafeMutableAddress { table + Int(index) }
    }

    /// An empty buffer. Amortised O(1).
    mutating func take() -> UInt32 {
        inUse += 1
        if let index = free.popLast() { return index }
        if count == capacity {
            let grown = UnsafeMutablePointer<InputBuffer>.allocate(capacity: capacity * 2)
            grown.moveInitialize(from: table, count: count)
            table.deallocate()
            table = grown
            capacity *= 2
        }
        (table + count).initialize(to: InputBuffer())
        count += 1
        return UInt32(count - 1)
    }

    /// Gives a buffer and its memory back.
    mutating func release(_ index: UInt32) {
        table[Int(index)].deallocate()
        table[Int(index)] = InputBuffer()
        free.append(index)
        inUse -= 1
    }
}
