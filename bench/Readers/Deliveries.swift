// The checks that all transports share: events in order and without holes, control records where they belong.

import ClientSockets
import Glibc

extension Checker {
    /// The page of the event that this reader must get next, if some reader has already got it; nil otherwise.
    @inline(__always)
    func nextPage(_ reader: UnsafeMutablePointer<Reader>) -> UnsafeMutablePointer<Page>? {
        let next = Int(reader.pointee.nextEvent)
        guard next < eventsTotal, book.pages[next].bodyCount > 0, reader.pointee.phase == .streaming else { return nil }
        return book.pages + next
    }

    /// Books the delivery of the very event that was due, its bytes checked.
    @inline(__always)
    func accept(_ index: Int, _ page: UnsafeMutablePointer<Page>) {
        let reader = readers + index
        let seq = page.pointee.seq
        let isInOrder = reader.pointee.isFiltered ? seq > reader.pointee.lastSeq : seq == reader.pointee.lastSeq &+ 1
        if !isInOrder { faultInSeq(index, seq) }
        reader.pointee.lastSeq = seq
        reader.pointee.nextEvent += reader.pointee.isFiltered ? UInt32(streams) : 1
        reader.pointee.received += 1
        deliveries += 1
        outstanding -= 1
    }

    @inline(never)
    private func faultInSeq(_ index: Int, _ seq: UInt64) {
        fault(index, "seq \(seq) follows \(readers[index].lastSeq)")
    }

    /// Takes an object of a stream: a control record or an event. `id` is what SSE's id line said.
    func takeObject(
        _ index: Int, _ body: UnsafePointer<UInt8>, _ count: Int, name: String? = nil,
        id: (epoch: UInt64, seq: UInt64)? = nil
    ) {
        if ControlRecord.begins(body, count) {
            takeControl(index, body, count, name: name, id: id)
            return
        }
        guard readers[index].phase == .streaming, let epoch else {
            drop(index, "an event before $hello: \(excerpt(body, count))")
            return
        }
        let number: Int
        do throws(DeliveryFault) {
            number = try book.learn(body, count, epoch: epoch)
        } catch {
            drop(index, "\(error.text): \(excerpt(body, count))")
            return
        }
        let page = book.pages + number
        if let id, id.epoch != epoch || id.seq != page.pointee.seq {
            fault(index, "the id \(hex16(id.epoch))-\(id.seq) does not name the event: \(excerpt(body, count))")
        }
        if name != nil { fault(index, "a data event with an event: line") }
        if number != Int(readers[index].nextEvent) { resume(index, at: number) }
        if Int(readers[index].nextEvent) == number { accept(index, page) }
    }

    /// The reader got another event than the one that was due: says so and goes on behind it.
    private func resume(_ index: Int, at number: Int) {
        let due = Int(readers[index].nextEvent)
        if readers[index].isFiltered, number % streams != Int(readers[index].stream) {
            fault(index, "event \(number) does not match the filter")
        } else if number < due {
            fault(index, "event \(number) (seq \(book.pages[number].seq)) again, or late: \(due) was due")
        } else {
            fault(index, "a hole: event \(number) (seq \(book.pages[number].seq)) came when \(due) was due")
            skip(index, to: number)
        }
    }

    private func skip(_ index: Int, to number: Int) {
        outstanding -= readers[index].pending(before: min(number, published), streams: streams)
        readers[index].nextEvent = UInt32(number)
        if !readers[index].isFiltered { readers[index].lastSeq = book.pages[number].seq &- 1 }
    }

    private func takeControl(
        _ index: Int, _ body: UnsafePointer<UInt8>, _ count: Int, name: String?, id: (epoch: UInt64, seq: UInt64)?
    ) {
        guard let record = ControlRecord(body, count) else {
            drop(index, "a malformed control record: \(excerpt(body, count))")
            return
        }
        if readers[index].transport == .sse, name != Self.name(of: record) {
            fault(index, "event: \(name ?? "(none)") for \(excerpt(body, count))")
        }
        if readers[index].phase == .hello, record.kind != .hello {
            drop(index, "$hello is not first: \(excerpt(body, count))")
            return
        }
        if readers[index].byeSeen { fault(index, "a record after $bye: \(excerpt(body, count))") }
        switch record.kind {
        case .hello: takeHello(index, record, id, excerpt(body, count))
        case .bye: takeBye(index, record, id, excerpt(body, count))
        case .gap: takeGap(index, record, excerpt(body, count))
        case .ping:
            if readers[index].transport != .tcp, readers[index].transport != .ndjson {
                fault(index, "$ping where keep-alives have another form, or none")
            }
        case .other: fault(index, "an unknown control record: \(excerpt(body, count))")
        }
    }

    private static func name(of record: ControlRecord) -> String? {
        switch record.kind {
        case .hello: "$hello"
        case .bye: "$bye"
        case .gap: "$gap"
        case .ping: "$ping"
        case .other: nil
        }
    }

    private func takeHello(_ index: Int, _ record: ControlRecord, _ id: (epoch: UInt64, seq: UInt64)?, _ text: String) {
        guard readers[index].hellosDue > 0, let its = record.epoch, let head = record.seq else {
            fault(index, "a further $hello: \(text)")
            return
        }
        if epoch == nil { epoch = its }
        if its != epoch { fault(index, "another epoch than other readers were told: \(text)") }
        if readers[index].transport == .sse, id?.epoch != its || id?.seq != head {
            fault(index, "$hello's id is not its epoch and seq: \(text)")
        }
        readers[index].lastSeq = head
        readers[index].hellosDue -= 1
        if readers[index].hellosDue == 0 {
            readers[index].phase = .streaming
            countIn(index)
        }
    }

    private func takeBye(_ index: Int, _ record: ControlRecord, _ id: (epoch: UInt64, seq: UInt64)?, _ text: String) {
        readers[index].byeSeen = true
        if stage != .stopping {
            if !options.allowGaps { fault(index, "\(text); \(standing(index))") }
        } else if record.code != 1001 {
            fault(index, "not 1001 at shutdown: \(text)")
        }
        // A filtered reader may be told of an event that it was not sent, if that is how far it has been served.
        for place in [record.last, id] {
            guard let place, readers[index].received > 0, !readers[index].isFiltered else { continue }
            if place.epoch != epoch || place.seq != readers[index].lastSeq {
                fault(index, "$bye does not name the last event, \(readers[index].lastSeq): \(text)")
            }
        }
    }

    /// A gap is a fault unless gaps are allowed; then it must begin where the reader stands and count what it covers.
    private func takeGap(_ index: Int, _ record: ControlRecord, _ text: String) {
        guard options.allowGaps else {
            fault(index, "\(text); \(standing(index))")
            return
        }
        guard let from = record.from, let to = record.to, from > readers[index].lastSeq, to >= from else {
            fault(index, "a $gap that covers nothing: \(text)")
            return
        }
        if readers[index].isFiltered { return }
        let missed = to - from + 1
        if from != readers[index].lastSeq + 1 || (record.dropped ?? missed) != missed {
            fault(index, "a $gap that does not cover exactly what is missing after \(readers[index].lastSeq): \(text)")
        }
        let number = min(eventsTotal, Int(readers[index].nextEvent) + Int(clamping: missed))
        outstanding -= readers[index].pending(before: min(number, published), streams: streams)
        readers[index].nextEvent = UInt32(number)
        readers[index].lastSeq = to
        readers[index].received += UInt32(clamping: missed)
    }
}
