/// Encodes an event once for all readers of a form, straight into shared memory.

/// The object is the same in every form: the compacted event with what is stamped put in front, `seq`, `channel`,
/// `time`.
///
///     jsonl      {"seq":7,"channel":"a","type":"x"}\n
///     sse        id: 00000000000000e1-7\ndata: {"seq":7,"channel":"a","type":"x"}\n\n
///     webSocket  81 22 {"seq":7,"channel":"a","type":"x"}
package enum EventEncoder {
    /// Exactly how many bytes `encode` will write with the same arguments.
    package static func byteCount(
        _ format: WireFormat, stamp: Stamp, channel: Span<UInt8>, event: Span<UInt8>
    ) -> Int {
        let object = objectByteCount(stamp, channel, event)
        switch format {
        case .jsonl: return object + 1
        case .sse: return idField.utf8CodeUnitCount + stamp.cursor.byteCount + dataField.utf8CodeUnitCount + object + 2
        case .webSocket: return WebSocketFrame.headerBytes(payload: object) + object
        }
    }

    /// Writes the event in one form. Does not allocate.
    /// - Parameters:
    ///   - channel: the channel's name; its bytes need no escaping.
    ///   - event: an object that `JSONScanner.compact` wrote, under rules that reserve what is stamped.
    ///   - output: room for `byteCount` bytes; exactly these are written.
    package static func encode(
        _ format: WireFormat, stamp: Stamp, channel: Span<UInt8>, event: Span<UInt8>,
        into output: UnsafeMutablePointer<UInt8>
    ) {
        var pen = Pen(output)
        switch format {
        case .jsonl:
            writeObject(stamp, channel, event, &pen)
            pen.put(UInt8(ascii: "\n"))
        case .sse:
            pen.put(idField)
            pen.advance(stamp.cursor.write(into: pen.place))
            pen.put(dataField)
            writeObject(stamp, channel, event, &pen)
            pen.put("\n\n")
        case .webSocket:
            writeFrameHeader(payload: objectByteCount(stamp, channel, event), &pen)
            writeObject(stamp, channel, event, &pen)
        }
    }

    private static let idField: StaticString = "id: "
    private static let dataField: StaticString = "\ndata: "
    private static let seqMember: StaticString = "\"seq\":"
    private static let channelMember: StaticString = "\"channel\":\""
    private static let timeMember: StaticString = "\"time\":\""

    /// The length of the stamped object. Every stamped member brings one comma: to the next one, or to the event's own
    /// first member, unless there is none.
    private static func objectByteCount(_ stamp: Stamp, _ channel: Span<UInt8>, _ event: Span<UInt8>) -> Int {
        precondition(event.count >= 2, "an event is an object")
        var count = event.count
        if stamp.members.isEmpty { return count }
        if stamp.members.contains(.seq) {
            count += seqMember.utf8CodeUnitCount + DecimalText.byteCount(stamp.seq) + 1
        }
        if stamp.members.contains(.channel) { count += channelMember.utf8CodeUnitCount + channel.count + 2 }
        if stamp.members.contains(.time) { count += timeMember.utf8CodeUnitCount + TimeText.byteCount + 2 }
        return event.count == 2 ? count - 1 : count
    }

    private static func writeObject(_ stamp: Stamp, _ channel: Span<UInt8>, _ event: Span<UInt8>, _ pen: inout Pen) {
        if stamp.members.isEmpty { return pen.put(event) }
        pen.put(UInt8(ascii: "{"))
        if stamp.members.contains(.seq) {
            pen.put(seqMember)
            pen.advance(DecimalText.write(stamp.seq, into: pen.place))
            pen.put(UInt8(ascii: ","))
        }
        if stamp.members.contains(.channel) {
            pen.put(channelMember)
            pen.put(channel)
            pen.put("\",")
        }
        if stamp.members.contains(.time) {
            pen.put(timeMember)
            TimeText.write(milliseconds: stamp.timeMilliseconds, into: pen.place)
            pen.advance(TimeText.byteCount)
            pen.put("\",")
        }
        if event.count == 2 { pen.takeBack(1) }
        pen.put(event.extracting(1...))
    }

    /// The header of a whole text message, unmasked and in its shortest form (RFC 6455 section 5.2).
    private static func writeFrameHeader(payload: Int, _ pen: inout Pen) {
        pen.put(0x80 | WebSocketOpcode.text.rawValue)
        let lengthBytes = WebSocketFrame.headerBytes(payload: payload) - 2
        if lengthBytes == 0 { return pen.put(UInt8(payload)) }
        pen.put(lengthBytes == 2 ? 126 : 127)
        for index in (0..<lengthBytes).reversed() {
            pen.put(UInt8(truncatingIfNeeded: payload >> (8 * index)))
        }
    }

    /// A place in the output that moves on as bytes are written.
    private struct Pen {
        private(set) var place: UnsafeMutablePointer<UInt8>

        init(_ output: UnsafeMutablePointer<UInt8>) { place = output }

        @inline(__always)
        mutating func put(_ byte: UInt8) {
            place.pointee = byte
            place += 1
        }

        @inline(__always)
        mutating func put(_ text: StaticString) {
            place.update(from: text.utf8Start, count: text.utf8CodeUnitCount)
            place += text.utf8CodeUnitCount
        }

        @inline(__always)
        mutating func put(_ bytes: Span<UInt8>) {
            bytes.withUnsafeBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                place.update(from: base, count: buffer.count)
            }
            place += bytes.count
        }

        /// Counts bytes that were written at `place` by others.
        @inline(__always)
        mutating func advance(_ count: Int) { place += count }

        /// Gives up the bytes written last.
        @inline(__always)
        mutating func takeBack(_ count: Int) { place -= count }
    }
}
