// Events written by the encoders and read back by parsers that share nothing with them.

import Foundation
import Testing
import Wire

@Suite("Event encoders")
struct EncoderTests {
    private let epoch = Epoch(rawValue: 0x00A1_B2C3_D4E5_F607)

    private func encoded(_ format: WireFormat, _ stamp: Stamp, channel: String, event: [UInt8]) -> [UInt8] {
        let channel = Array(channel.utf8)
        let count = EventEncoder.byteCount(format, stamp: stamp, channel: channel.span, event: event.span)
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: count + 16)
        defer { memory.deallocate() }
        memory.initialize(repeating: 0xA5, count: count + 16)
        EventEncoder.encode(format, stamp: stamp, channel: channel.span, event: event.span, into: memory)
        #expect((count..<count + 16).allSatisfy { memory[$0] == 0xA5 })
        #expect(count == 0 || memory[count - 1] != 0xA5)
        return Array(UnsafeBufferPointer(start: memory, count: count))
    }

    private func stamp(_ members: StampMembers, seq: UInt64 = 7, time: Int64 = 1_767_323_045_678) -> Stamp {
        Stamp(members: members, epoch: epoch, seq: seq, timeMilliseconds: time)
    }

    @Test("the three forms are the contract's, byte for byte")
    func samples() {
        let event = Array(#"{"type":"session.created","id":42}"#.utf8)
        let object = #"{"seq":7,"channel":"sessions/42","type":"session.created","id":42}"#
        func text(_ format: WireFormat) -> String {
            String(
                decoding: encoded(format, stamp([.seq, .channel]), channel: "sessions/42", event: event), as: UTF8.self)
        }
        #expect(text(.jsonl) == object + "\n")
        #expect(text(.sse) == "id: 00a1b2c3d4e5f607-7\ndata: \(object)\n\n")
        #expect(
            encoded(.webSocket, stamp([.seq, .channel]), channel: "sessions/42", event: event) == [
                0x81, UInt8(object.utf8.count),
            ] + Array(object.utf8))
    }

    @Test("every choice of stamped members, with and without members of the event's own")
    func stamps() {
        let pieces: [(StampMembers, String)] = [
            (.seq, #""seq":18446744073709551615"#), (.channel, #""channel":"a/b""#),
            (.time, #""time":"2026-01-02T03:04:05.678Z""#),
        ]
        for bits in UInt8(0)..<8 {
            let members = StampMembers(rawValue: bits)
            let front = pieces.filter { members.contains($0.0) }.map(\.1)
            for own in [[], [#""x":[{}]"#], [#""x":1"#, #""y":" , ""#]] {
                let expected = "{" + (front + own).joined(separator: ",") + "}"
                let event = Array(("{" + own.joined(separator: ",") + "}").utf8)
                for format in WireFormat.allCases {
                    let bytes = encoded(format, stamp(members, seq: .max), channel: "a/b", event: event)
                    #expect(payloads(format, bytes) == [Array(expected.utf8)], "\(members) \(own)")
                }
                #expect(faultOfText(Array(expected.utf8)) == nil)
            }
        }
    }

    @Test("a stream of many events reads back, in every form, as the events that went in")
    func streams() throws {
        var random = JSONTestRandom(seed: 17)
        var streams = [[UInt8]](repeating: [], count: WireFormat.allCases.count)
        var expected: [[UInt8]] = []
        for seq in UInt64(1)...200 {
            let filler = String(
                (0..<Int.random(in: 0...600, using: &random)).map { _ in
                    ["a", " ", "é", "😀", "\u{2028}", "\\n", "\\\"", "data: ", ":", "id: 5"].randomElement(
                        using: &random)!
                }.joined())
            let event = try compactedEvent(#"{ "type" : "t" , "text" : "\#(filler)" }"#).text
            let value = stamp([.seq, .channel, .time], seq: seq * 997, time: Int64(seq) * 86_399_999)
            expected.append(try #require(payloads(.jsonl, encoded(.jsonl, value, channel: "c", event: event)).first))
            for format in WireFormat.allCases {
                streams[Int(format.rawValue)] += encoded(format, value, channel: "c", event: event)
            }
        }
        for format in WireFormat.allCases { #expect(payloads(format, streams[Int(format.rawValue)]) == expected) }
        for (index, object) in expected.enumerated() {
            let parsed = try JSONSerialization.jsonObject(with: Data(object)) as? [String: Any]
            #expect(parsed?["seq"] as? Int == (index + 1) * 997)
            #expect(parsed?["channel"] as? String == "c")
        }
        let ids = String(decoding: streams[Int(WireFormat.sse.rawValue)], as: UTF8.self).split(separator: "\n").filter {
            $0.hasPrefix("id: ")
        }
        #expect(ids.count == 200)
        #expect(Cursor(String(ids[1].dropFirst(4))) == Cursor(epoch: epoch, seq: 2 * 997))
    }

    @Test(
        "a frame has the shortest header at every edge of its length",
        arguments: [2, 3, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 262_144])
    func frameLengths(length: Int) {
        // Unstamped, so that the payload is the event.
        let event =
            length == 2
            ? Array("{}".utf8)
            : length == 3
                ? Array("{ }".utf8)
                : Array(#"{"":"#.utf8) + [UInt8](repeating: 0x31, count: length - 5) + Array("}".utf8)
        let frame = encoded(.webSocket, stamp([]), channel: "c", event: event)
        let header: [UInt8] =
            switch length {
            case ...125: [0x81, UInt8(length)]
            case ...65_535: [0x81, 126, UInt8(length >> 8), UInt8(length & 0xFF)]
            default: [0x81, 127, 0, 0, 0, 0, 0, UInt8(length >> 16), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF)]
            }
        #expect(Array(frame.prefix(header.count)) == header)
        #expect(frame.dropFirst(header.count).elementsEqual(event))
    }

    @Test("times are written as Foundation writes them, in every month and at every edge")
    func times() throws {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime]
        func text(_ milliseconds: Int64) -> String {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: TimeText.byteCount) { memory in
                TimeText.write(milliseconds: milliseconds, into: memory.baseAddress!)
                return String(decoding: memory, as: UTF8.self)
            }
        }
        var random = JSONTestRandom(seed: 8)
        var days = Array(stride(from: Int64(0), to: 60_000, by: 1)).filter { _ in
            Int.random(in: 0..<20, using: &random) == 0
        }
        days += [0, 58, 59, 60, 364, 365, 789, 790, 11_016, 11_017, 47_540, 47_541, 2_932_896]
        for day in days {
            let seconds = day * 86_400 + Int64.random(in: 0..<86_400, using: &random)
            let date = formatter.string(from: Date(timeIntervalSince1970: Double(seconds)))
            #expect(text(seconds * 1000 + 7) == date.dropLast() + ".007Z")
        }
        #expect(text(0) == "1970-01-01T00:00:00.000Z")
        #expect(text(951_782_400_999) == "2000-02-29T00:00:00.999Z")
        #expect(text(253_402_300_799_999) == "9999-12-31T23:59:59.999Z")
        #expect(text(.max) == "9999-12-31T23:59:59.999Z")
        #expect(text(.min) == "1970-01-01T00:00:00.000Z")
    }
}

/// The objects in a stream of one form, read by the form's own rules.
func payloads(_ format: WireFormat, _ stream: [UInt8]) -> [[UInt8]] {
    switch format {
    case .jsonl:
        return stream.split(separator: 0x0A, omittingEmptySubsequences: false).dropLast().map(Array.init)
    case .sse:
        return serverSentEvents(stream).compactMap { $0.data.map { Array($0.utf8) } }
    case .webSocket:
        return textFrames(stream)
    }
}

/// One event as a browser's EventSource would see it.
struct ServerSentEvent: Equatable {
    var id: String?
    var event: String?
    var data: String?
}

/// The event-stream format as the HTML standard defines it.
func serverSentEvents(_ stream: [UInt8]) -> [ServerSentEvent] {
    var events: [ServerSentEvent] = []
    var current = ServerSentEvent()
    for line in String(decoding: stream, as: UTF8.self).split(
        omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" || $0 == "\r" || $0 == "\r\n" })
    {
        if line.isEmpty {
            if current.data != nil { events.append(current) }
            current = ServerSentEvent()
        } else if !line.hasPrefix(":") {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            var value = parts.count > 1 ? String(parts[1]) : ""
            if value.hasPrefix(" ") { value.removeFirst() }
            switch parts[0] {
            case "data": current.data = current.data.map { $0 + "\n" + value } ?? value
            case "id": current.id = value
            case "event": current.event = value
            default: break
            }
        }
    }
    return events
}

/// The payloads of a stream of whole, unmasked text frames.
func textFrames(_ stream: [UInt8]) -> [[UInt8]] {
    var payloads: [[UInt8]] = []
    var rest = stream[...]
    while rest.count >= 2 {
        guard rest.removeFirst() == 0x81 else { return [] }
        var length = Int(rest.removeFirst())
        if length >= 126 {
            let extra = length == 126 ? 2 : 8
            length = rest.prefix(extra).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(extra)
        }
        payloads.append(Array(rest.prefix(length)))
        rest = rest.dropFirst(length)
    }
    return rest.isEmpty ? payloads : []
}
