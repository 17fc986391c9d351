// Two control records of an input's choice, and what must be read of them.

import Wire

struct ControlRecordCheck {
    let first: Choice
    let second: Choice

    init(_ reader: inout InputReader) {
        first = Choice(&reader)
        second = Choice(&reader)
    }

    struct Choice {
        let record: ControlRecord
        let discriminator: [UInt8]
        let eventID: Cursor?
        /// The members behind the discriminator, as text.
        private let members: [(name: String, value: String)]

        init(_ reader: inout InputReader) {
            let choice = reader.byte()
            let epoch = Epoch(rawValue: reader.number())
            let seq = reader.number()
            let other = reader.byte() & 1 == 1 ? reader.number() : nil
            let bytes = reader.bytes()
            discriminator = UTF8Check.repair(bytes.span)
            let place = Cursor(epoch: epoch, seq: seq)
            let cursor = EncoderTarget.cursorText(epoch.rawValue, seq)
            let epochMember = ("epoch", "\"\(cursor.prefix(16))\"")
            eventID = choice & 8 == 8 ? place : nil
            switch choice & 3 {
            case 0:
                record = .hello(epoch: epoch, seq: seq, server: "fanout/1", heartbeatSeconds: 15)
                members = [epochMember, ("seq", "\(seq)"), ("server", "\"fanout/1\""), ("heartbeat_s", "15")]
            case 1:
                let reasons = ControlRecord.GapReason.allCases
                let why = reasons[Int(choice >> 4) % reasons.count]
                record = .gap(why: why, epoch: epoch, from: seq, to: other, dropped: other)
                members = [
                    epochMember, ("from", "\(seq)"), ("to", other.map { "\($0)" } ?? ""),
                    ("dropped", other.map { "\($0)" } ?? ""), ("why", "\"\(why.rawValue)\""),
                ].filter { !$0.1.isEmpty }
            case 2:
                let retry = other.map { Int(truncatingIfNeeded: $0) }
                record = .bye(code: 4008, why: "slow", last: other.map { _ in place }, retryMilliseconds: retry)
                members = [
                    ("code", "4008"), ("why", "\"slow\""), ("last", other.map { _ in "\"\(cursor)\"" } ?? ""),
                    ("retry_ms", retry.map { "\($0)" } ?? ""),
                ].filter { !$0.1.isEmpty }
            default:
                record = .ping
                members = []
            }
        }

        func append(to bytes: inout [UInt8], _ format: WireFormat) {
            record.append(to: &bytes, format: format, discriminator: discriminator.span, eventID: eventID)
        }

        func judge(_ found: StreamRecord, _ format: WireFormat) {
            if case .ping = record, format != .jsonl {
                return expectEqual(found, StreamRecord(kind: .keepAlive), "a keep-alive in \(format)")
            }
            let name = record.name.description
            guard found.kind == .data, case .object(let all) = NaiveJSON.read(found.payload, depthMax: 1) else {
                fail("a record in \(format) is not read")
            }
            expectEqual(NaiveJSON.unescaped(all[0].name), discriminator, "a record's discriminator")
            expectEqual(all[0].value.compact, Array("\"\(name)\"".utf8), "a record's name")
            expectEqual(all.dropFirst().map { NaiveText.string($0.name) }, members.map(\.name), "a record's members")
            expectEqual(
                all.dropFirst().map { NaiveText.string($0.value.compact) }, members.map(\.value), "a record's values")
            guard format == .sse else { return }
            expectEqual(found.event, Array(name.utf8), "an SSE event's name")
            expectEqual(found.id.map { NaiveText.string($0) }, eventID?.description, "an SSE event's id")
        }
    }
}
