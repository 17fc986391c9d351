// What the server writes: an event or a record goes in, and the strict readers must get the same payload out of each
// form.

import Glibc
import Wire

enum EncoderTarget {
    static func judge(_ input: Input) {
        var reader = InputReader(input)
        let choice = reader.byte()
        let members = StampMembers(rawValue: choice & 7)
        let stamp = Stamp(
            members: members, epoch: Epoch(rawValue: reader.number()), seq: reader.number(),
            timeMilliseconds: Int64(bitPattern: reader.number()))
        let name = reader.bytes()
        let channel = (ChannelName(name.span) ?? .standard).bytes
        let records = ControlRecordCheck(&reader)
        let rest = reader.rest()
        // One choice is an event of more than 64 KiB, which takes WebSocket's longest form of length.
        let text = choice == 0xFE ? rest + [UInt8](repeating: 0x78, count: 65_536) : rest
        let event = compacted(rest, members) ?? wrapped(text)
        judgeEvent(stamp, channel, event, records)
        judgeFrames(stamp, rest)
        judgeAnswers(stamp, rest)
    }

    /// The event that the bytes are, if they are one.
    private static func compacted(_ bytes: [UInt8], _ members: StampMembers) -> [UInt8]? {
        var output = [UInt8](repeating: 0, count: bytes.count)
        let rules = EventRules(stamp: members)
        let record = output.withUnsafeMutableBufferPointer { output -> EventRecord? in
            guard let base = output.baseAddress else { return nil }
            return try? JSONScanner.compact(bytes.span, rules: rules, into: base)
        }
        return record.map { Array(output[..<$0.length]) }
    }

    /// An event that holds the bytes as text.
    private static func wrapped(_ bytes: [UInt8]) -> [UInt8] {
        var event = Array(#"{"type":"text","text":""#.utf8)
        JSONText.appendEscaped(UTF8Check.repair(bytes.span).span, to: &event)
        event += "\"}".utf8
        expect(compacted(event, [.seq, .channel, .time]) == event, "escaped text is no event")
        return event
    }

    /// The event between two control records and again with the next number, in each form.
    private static func judgeEvent(_ stamp: Stamp, _ channel: [UInt8], _ event: [UInt8], _ records: ControlRecordCheck)
    {
        var next = stamp
        next.seq &+= 1
        let payloads = [object(stamp, channel, event), object(next, channel, event)]
        for payload in payloads {
            expect(NaiveJSON.read(payload, depthMax: 130)?.compact == payload, "a stamped event is no compact JSON")
        }
        for format in WireFormat.allCases {
            var bytes: [UInt8] = []
            records.first.append(to: &bytes, format)
            encode(format, stamp, channel, event, &bytes)
            encode(format, next, channel, event, &bytes)
            records.second.append(to: &bytes, format)
            let streams = [StrictStreams.jsonLines, StrictStreams.serverSentEvents, StrictStreams.webSocket]
            guard let stream = streams[Int(format.rawValue)](bytes) else { fail("\(format) is not read") }
            expectEqual(stream.count, 4, "records of \(format)")
            records.first.judge(stream[0], format)
            records.second.judge(stream[3], format)
            for (record, payload) in zip(stream[1...2], payloads) {
                expect(record.kind == .data && record.event == nil, "an event's record in \(format)")
                expectEqual(record.payload, payload, "an event in \(format)")
            }
            guard format == .sse else { continue }
            expectEqual(stream[1].id, Array(cursorText(stamp.epoch.rawValue, stamp.seq).utf8), "an id")
            expectEqual(stream[2].id, Array(cursorText(next.epoch.rawValue, next.seq).utf8), "an id")
        }
    }

    static func cursorText(_ epoch: UInt64, _ seq: UInt64) -> String {
        let hex = String(epoch, radix: 16)
        return String(repeating: "0", count: 16 - hex.count) + hex + "-\(seq)"
    }

    /// Encodes into memory of exactly the size that was announced.
    private static func encode(
        _ format: WireFormat, _ stamp: Stamp, _ channel: [UInt8], _ event: [UInt8], _ bytes: inout [UInt8]
    ) {
        let count = EventEncoder.byteCount(format, stamp: stamp, channel: channel.span, event: event.span)
        let output = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: count)
        defer { output.deallocate() }
        output.initialize(repeating: 0xFF)
        guard let base = output.baseAddress else { fail("an event of no bytes") }
        EventEncoder.encode(format, stamp: stamp, channel: channel.span, event: event.span, into: base)
        expect(output[count - 1] != 0xFF, "fewer bytes than announced")
        bytes += output
    }

    /// The stamped event, put together as text.
    private static func object(_ stamp: Stamp, _ channel: [UInt8], _ event: [UInt8]) -> [UInt8] {
        var parts: [String] = []
        if stamp.members.contains(.seq) { parts.append("\"seq\":\(stamp.seq)") }
        if stamp.members.contains(.channel) { parts.append("\"channel\":\"\(NaiveText.string(channel))\"") }
        if stamp.members.contains(.time) { parts.append("\"time\":\"\(timeText(stamp.timeMilliseconds))\"") }
        let inside = NaiveText.string(event.dropFirst().dropLast())
        if !inside.isEmpty { parts.append(inside) }
        return Array("{\(parts.joined(separator: ","))}".utf8)
    }

    /// The C library's calendar.
    private static func timeText(_ milliseconds: Int64) -> String {
        let time = min(max(milliseconds, 0), 253_402_300_799_999)
        var seconds = Int(time / 1000)
        var date = tm()
        gmtime_r(&seconds, &date)
        func digits(_ value: Int, _ count: Int) -> String {
            let text = "\(value)"
            return String(repeating: "0", count: count - text.count) + text
        }
        let day = [(Int(date.tm_year) + 1900, 4), (Int(date.tm_mon) + 1, 2), (Int(date.tm_mday), 2)]
        let clock = [(Int(date.tm_hour), 2), (Int(date.tm_min), 2), (Int(date.tm_sec), 2)]
        return day.map(digits).joined(separator: "-") + "T" + clock.map(digits).joined(separator: ":")
            + ".\(digits(Int(time % 1000), 3))Z"
    }

    /// Pongs and close frames, whose payload is a client's.
    private static func judgeFrames(_ stamp: Stamp, _ rest: [UInt8]) {
        let payload = Array(rest.prefix(125))
        var bytes: [UInt8] = []
        WebSocketFrame.append(.pong, payload.span, to: &bytes)
        expectEqual(StrictStreams.webSocket(bytes), [StreamRecord(kind: .pong, payload: payload)], "a pong")
        let reason = UTF8Check.repair(rest.span)
        let code = UInt16(truncatingIfNeeded: stamp.seq)
        bytes = []
        WebSocketFrame.appendClose(code: code, reason: reason.span, to: &bytes)
        guard let frames = StrictStreams.webSocket(bytes), frames.count == 1, frames[0].kind == .close else {
            fail("a close frame is not read")
        }
        let kept = Array(frames[0].payload.dropFirst(2))
        expectEqual(frames[0].payload.prefix(2).reduce(0) { $0 << 8 | UInt16($1) }, code, "a close code")
        expect(reason.starts(with: kept) && NaiveText.isUTF8(kept), "a reason is cut inside a character")
        expect(kept.count > min(reason.count, 123) - 4 && kept.count <= 123, "a reason is cut too short")
    }

    /// Errors, acks and responses: whatever is put into one, it stays inside.
    private static func judgeAnswers(_ stamp: Stamp, _ rest: [UInt8]) {
        let text = NaiveText.string(rest)
        var body: [UInt8] = []
        ResponseJSON.appendError(code: text, message: text, to: &body)
        guard case .object(let outer) = NaiveJSON.read(body, depthMax: 2), outer.count == 1,
            case .object(let inner) = outer[0].value,
            inner.map(\.name) == [Array("code".utf8), Array("message".utf8)]
        else { fail("an error is not read") }
        for member in inner {
            guard case .string(let escaped) = member.value else { fail("an error's text is no string") }
            expectEqual(NaiveJSON.unescaped(escaped), Array(text.utf8), "an error's text")
        }
        var ack: [UInt8] = []
        let place = Cursor(epoch: stamp.epoch, seq: stamp.seq)
        let batch = (first: place, count: Int(truncatingIfNeeded: stamp.seq))
        ResponseJSON.appendAck(
            Ack(last: place, batch: batch, level: .accepted, subscribers: 1, behind: 0), to: &ack)
        expectEqual(NaiveJSON.read(ack, depthMax: 1)?.compact, ack, "an ack is no compact JSON")

        var bytes: [UInt8] = []
        HTTPResponse.append(
            status: 400, contentType: "application/json", body: body, keepAlive: false,
            fields: [HTTPResponse.Field("X-Text", rest)], dateSeconds: stamp.timeMilliseconds, to: &bytes)
        guard let response = StrictStreams.response(bytes) else { fail("a response is not read") }
        expect(response.status == 400 && response.body == body, "a response's body")
        let fields = response.fields.filter { $0.name == "X-Text" }
        let safe = rest.map { ($0 < 0x20 && $0 != 9) || $0 == 0x7F ? 0x20 : $0 }
        expectEqual(fields.map(\.value), [NaiveText.trimmed(safe)], "a response's field")
        expectEqual(response.fields.count, 7, "fields of a response")
    }
}
