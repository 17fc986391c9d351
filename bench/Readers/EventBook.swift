// What every event of the run must look like on the wire, byte for byte.
//
// An event is made here, published, and comes back once per reader. The first time that it arrives it is read by a
// strict parser and compared with what was published; the bytes that passed are kept, and all other deliveries of the
// same event, on every transport, must be equal to them. So each delivery is checked in full at the price of a memcmp.

import ClientSockets
import Glibc

/// One event's place in the book.
struct Page {
    /// Where the object begins within the event's slot; before it lies what SSE puts in front.
    var bodyOffset: UInt32 = 0
    /// Size of the object as readers get it; 0 until it has been seen once.
    var bodyCount: UInt32 = 0
    /// Size of the object as published by this process; 0 if it was not.
    var publishedCount: UInt32 = 0
    var seq: UInt64 = 0
}

/// Why a delivery is wrong, in words.
struct DeliveryFault: Error {
    var text: String
    init(_ text: String) { self.text = text }
}

/// The published events and the frames that readers must get for them. Memory: about twice `eventBytes` per event.
final class EventBook {
    /// What numbering, channel (at most 255 bytes), SSE lines and the second copy add to an event.
    static let overheadBytesMax = 512
    private static let sumBytes = 26  // ,"sum":"0123456789abcdef"}

    let pages: UnsafeMutablePointer<Page>
    let eventsTotal: Int
    let streams: Int
    private let channels: [[UInt8]]
    private let eventBytes: Int
    private let slotBytes: Int
    private let received: UnsafeMutablePointer<UInt8>
    private let published: UnsafeMutablePointer<UInt8>

    init(_ options: Options) {
        eventsTotal = options.eventsTotal
        streams = options.channels.count
        channels = options.channels.map { Array($0.utf8) }
        eventBytes = options.eventBytes
        slotBytes = options.eventBytes + Self.overheadBytesMax
        let events = max(eventsTotal, 1)
        pages = .allocate(capacity: events)
        pages.initialize(repeating: Page(), count: events)
        received = .allocate(capacity: events * slotBytes)
        published = .allocate(capacity: events * slotBytes)
    }

    /// The frame of event `number` as SSE sends it: the id line, `data: `, the object and two line feeds. The object
    /// alone begins `bodyOffset` later, and with one line feed it is the JSONL form.
    @inline(__always)
    func frame(_ number: Int) -> UnsafePointer<UInt8> {
        UnsafePointer(received + number * slotBytes)
    }

    // MARK: Publishing

    /// Makes event `number`, of exactly `eventBytes`, notes it, and appends it to `output`.
    func publish(_ number: Int, into output: inout [UInt8]) {
        var text = Array("{\"type\":\"bench.\(number % streams)\",\"n\":\(number),\"pad\":\"".utf8)
        fill(&text, until: eventBytes - Self.sumBytes - 1, seed: UInt64(number) &* 0x9E37_79B9_7F4A_7C15 | 1)
        text.append(UInt8(ascii: "\""))
        let sum = text.withUnsafeBufferPointer { checksum($0.baseAddress! + 1, $0.count - 1) }
        text += Array(",\"sum\":\"\(hex16(sum))\"}".utf8)
        precondition(text.count == eventBytes, "an event is as long as asked for")
        memcpy(published + number * slotBytes, text, text.count)
        pages[number].publishedCount = UInt32(text.count)
        output += text
    }

    /// Random text that uses all of JSON's strings: plain and escaped, one to four bytes a character.
    private func fill(_ text: inout [UInt8], until end: Int, seed: UInt64) {
        var state = seed
        while end - text.count >= 12 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            switch state >> 60 {
            case 0: text += Array("\\u00e9".utf8)
            case 1: text += Array("\\\"".utf8)
            case 2: text += Array("é\\/".utf8)
            case 3: text += Array("\u{1F600}\\n".utf8)
            default: text.append(UInt8(ascii: "a") + UInt8(state >> 8 & 15))
            }
        }
        while text.count < end { text.append(UInt8(ascii: "z")) }
    }

    // MARK: Checking

    /// Checks an object that is not (yet) known byte for byte: strict JSON, the numbering in front, then exactly what
    /// was published. Returns the event's number; its page is filled in.
    func learn(_ body: UnsafePointer<UInt8>, _ count: Int, epoch: UInt64) throws(DeliveryFault) -> Int {
        guard StrictJSON.isObject(body, count) else { throw DeliveryFault("not a compact JSON object") }
        var text = StrictJSON(body, count)
        guard text.take("{\"seq\":"), let seq = text.unsigned(), text.take(",\"channel\":"),
            let channel = text.string(), text.take(",")
        else { throw DeliveryFault("does not begin with seq and channel") }
        let inner = text.at  // what followed the producer's opening brace
        guard text.take("\"type\":\"bench."), let stream = text.unsigned(),
            text.take("\",\"n\":"), let wide = text.unsigned(), wide < UInt64(eventsTotal),
            count - inner > Self.sumBytes
        else { throw DeliveryFault("not an event of this run") }
        let number = Int(wide)
        var tail = StrictJSON(body, count)
        tail.at = count - Self.sumBytes
        guard tail.take(",\"sum\":\""), tail.hex16() == checksum(body + inner, count - Self.sumBytes - inner)
        else { throw DeliveryFault("its checksum does not match") }
        let wanted = channels[number % streams]
        guard stream == UInt64(number % streams), channel.count == wanted.count,
            memcmp(body + channel.lowerBound, wanted, wanted.count) == 0
        else { throw DeliveryFault("the wrong channel for event \(number)") }
        let size = Int(pages[number].publishedCount)
        if size > 0 {
            guard size == count - inner + 1, memcmp(published + number * slotBytes + 1, body + inner, size - 1) == 0
            else { throw DeliveryFault("differs from what was published as event \(number)") }
        }
        try note(number, seq: seq, body, count, epoch)
        return number
    }

    private func note(
        _ number: Int, seq: UInt64, _ body: UnsafePointer<UInt8>, _ count: Int, _ epoch: UInt64
    ) throws(DeliveryFault) {
        let slot = received + number * slotBytes
        let page = pages[number]
        if page.bodyCount > 0 {
            guard page.seq == seq else {
                throw DeliveryFault("event \(number) has seq \(seq) here and \(page.seq) elsewhere")
            }
            guard Int(page.bodyCount) == count, memcmp(slot + Int(page.bodyOffset), body, count) == 0 else {
                throw DeliveryFault("event \(number) is not byte for byte what another reader got")
            }
            return
        }
        let front = Array("id: \(hex16(epoch))-\(seq)\ndata: ".utf8)
        guard front.count + count + 2 <= slotBytes else { throw DeliveryFault("longer than was published") }
        memcpy(slot, front, front.count)
        memcpy(slot + front.count, body, count)
        slot[front.count + count] = 10
        slot[front.count + count + 1] = 10
        pages[number].bodyOffset = UInt32(front.count)
        pages[number].bodyCount = UInt32(count)
        pages[number].seq = seq
    }
}

/// FNV-1a, 64 bits.
private func checksum(_ base: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    var sum: UInt64 = 0xCBF2_9CE4_8422_2325
    for place in 0..<count { sum = (sum ^ UInt64(base[place])) &* 0x100_0000_01B3 }
    return sum
}

/// Sixteen lowercase hex digits.
func hex16(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
