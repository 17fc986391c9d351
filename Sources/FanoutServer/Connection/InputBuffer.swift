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
    private(set) var body: [UInt8] = []
    /// Bytes that the body has asked for. Its capacity is not used: that follows what the allocator happened to have.
    private(set) var bodyRoom = 0
    var frames = WebSocketDecoder()

    /// The smallest capacity of a buffer: enough for a frame's header or most request heads.
    static let capacityMin = 1024

    /// Bytes of memory that it holds beside its place in the table.
    var bytesHeld: Int { capacity + bodyRoom }

    /// Whether nothing would be lost without it.
    var isIdle: Bool { count == 0 && stage == .head && framer.isIdle && body.isEmpty && frames.isIdle }

    /// The bytes that wait.
    var waiting: UnsafeMutableBufferPointer<UInt8> {
        UnsafeMutableBufferPointer(start: bytes.map { $0 + start }, count: count)
    }

    /// By how much `bytesHeld` grows if so many bytes are added.
    func growth(adding more: Int) -> Int {
        count + more <= capacity ? 0 : grownCapacity(adding: more) - capacity
    }

    private func grownCapacity(adding more: Int) -> Int { max(Self.capacityMin, max(capacity * 2, count + more)) }

    /// Adds bytes at the end. Amortised O(count); the phases bound how much is ever kept.
    fileprivate mutating func append(_ more: UnsafeMutableBufferPointer<UInt8>) {
        if count + more.count <= capacity {
            if start + count + more.count > capacity, let bytes {
                bytes.update(from: bytes + start, count: count)
                start = 0
            }
        } else {
            let grownCapacity = grownCapacity(adding: more.count)
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

    /// The room that a body has when so many bytes have been added to it.
    fileprivate func bodyRoom(adding more: Int) -> Int {
        body.count + more <= bodyRoom ? bodyRoom : max(bodyRoom * 2, body.count + more)
    }

    /// Adds bytes to the body. Amortised O(count).
    fileprivate mutating func appendBody(_ more: Span<UInt8>) {
        bodyRoom = bodyRoom(adding: more.count)
        body.reserveCapacity(bodyRoom)
        body.append(bytes: more)
    }

    /// Takes the body out.
    fileprivate mutating func takeBody() -> [UInt8] {
        defer {
            body = []
            bodyRoom = 0
        }
        return body
    }

    /// Frees the memory; to be called once, at the end.
    fileprivate func deallocate() { bytes?.deallocate() }

    /// Starts over with the next request.
    fileprivate mutating func nextRequest() {
        stage = .head
        framer = HTTPHeadFramer()
        chunks = ChunkedDecoder(bodyBytesMax: 0)
        _ = takeBody()
    }
}

/// The input buffers in use, by index. Loop thread only.
struct InputBuffers: ~Copyable {
    /// Room for so many is kept once nobody has a buffer.
    private static let capacityKept = 256
    private var table: UnsafeMutablePointer<InputBuffer>
    private var capacity = 16
    private var count = 0
    private var free: [UInt32] = []
    /// Buffers that connections have.
    private(set) var inUse = 0
    /// Bytes that all buffers hold. What changes it goes through the table.
    private(set) var bytesHeld = 0

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

    /// Adds bytes at the end of a buffer.
    mutating func append(_ more: UnsafeMutableBufferPointer<UInt8>, to index: UInt32) {
        bytesHeld += table[Int(index)].growth(adding: more.count)
        table[Int(index)].append(more)
    }

    /// By how much `bytesHeld` grows if so many bytes are added to a body.
    func bodyGrowth(adding more: Int, to index: UInt32) -> Int {
        table[Int(index)].bodyRoom(adding: more) - table[Int(index)].bodyRoom
    }

    /// Adds bytes to a body that comes in pieces.
    mutating func appendBody(_ more: Span<UInt8>, to index: UInt32) {
        bytesHeld += bodyGrowth(adding: more.count, to: index)
        table[Int(index)].appendBody(more)
    }

    /// Takes a body out, whose memory is then the caller's.
    mutating func takeBody(_ index: UInt32) -> [UInt8] {
        bytesHeld -= table[Int(index)].bodyRoom
        return table[Int(index)].takeBody()
    }

    /// Makes a buffer ready for the next request.
    mutating func nextRequest(_ index: UInt32) {
        bytesHeld -= table[Int(index)].bodyRoom
        table[Int(index)].nextRequest()
    }

    /// Gives a buffer and its memory back.
    mutating func release(_ index: UInt32) {
        bytesHeld -= table[Int(index)].bytesHeld
        table[Int(index)].deallocate()
        table[Int(index)] = InputBuffer()
        free.append(index)
        inUse -= 1
        if inUse == 0, capacity > Self.capacityKept { startOver() }
    }

    /// A crowd whose requests came in pieces has been served: what the table took for it is given back.
    private mutating func startOver() {
        table.deinitialize(count: count)
        table.deallocate()
        capacity = 16
        count = 0
        free = []
        table = .allocate(capacity: capacity)
    }
}
