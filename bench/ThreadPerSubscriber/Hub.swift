// Who subscribes, and the publishing of an event to all of them.

import Glibc
import Wire

/// The table of subscribers. Everything in it happens under one lock, so that each subscriber gets the events in the
/// order of their numbers, from the one after its `$hello`.
final class Hub: @unchecked Sendable {
    // Unchecked: `monitor` guards the rest.
    let gathers: Bool
    private let monitor = Monitor()
    private let epoch = Epoch(rawValue: UInt64.random(in: .min ... .max))
    private let channel = Array("events".utf8)
    private let rules = EventRules()
    private var seq: UInt64 = 0
    private var subscribers: [Subscriber] = []
    private var readersByFormat = [Int](repeating: 0, count: WireFormat.allCases.count)
    private let compacted: UnsafeMutablePointer<UInt8>

    init(gathers: Bool) {
        self.gathers = gathers
        compacted = .allocate(capacity: rules.eventBytesMax)
    }

    /// Enters a subscriber and returns its `$hello`.
    func add(_ subscriber: Subscriber, _ format: WireFormat) -> [UInt8] {
        monitor.locked {
            let discriminator = rules.discriminator
            subscriber.format = format
            subscriber.place = subscribers.count
            subscribers.append(subscriber)
            readersByFormat[Int(format.rawValue)] += 1
            var hello: [UInt8] = []
            ControlRecord.hello(epoch: epoch, seq: seq, server: "thread-per-subscriber", heartbeatSeconds: 0).append(
                to: &hello, format: format, discriminator: discriminator.span,
                eventID: Cursor(epoch: epoch, seq: seq))
            return hello
        }
    }

    /// Takes a subscriber out, unless it was dropped before.
    func remove(_ subscriber: Subscriber) {
        monitor.locked { forget(subscriber) }
    }

    /// Numbers one event and puts it into every queue. A subscriber whose queue is full is dropped: its descriptor is
    /// still open, since its thread closes it only after `remove`.
    /// - Throws: what is wrong with the event; then it has no number and nobody gets it.
    func publish(_ event: Span<UInt8>) throws(EventFault) {
        let fault: EventFault? = monitor.locked {
            do throws(EventFault) {
                let record = try JSONScanner.compact(event, rules: rules, into: compacted)
                fanOut(UnsafeBufferPointer(start: compacted, count: record.length))
                return nil
            } catch {
                return error
            }
        }
        if let fault { throw fault }
    }

    private func fanOut(_ event: UnsafeBufferPointer<UInt8>) {
        seq += 1
        let stamp = Stamp(members: rules.stamp, epoch: epoch, seq: seq, timeMilliseconds: 0)
        let jsonl = encode(.jsonl, stamp, event)
        let sse = encode(.sse, stamp, event)
        let webSocket = encode(.webSocket, stamp, event)
        // Backwards: dropping one moves the last one to its place.
        for index in subscribers.indices.reversed() {
            let subscriber = subscribers[index]
            let encoded =
                switch subscriber.format {
                case .jsonl: jsonl
                case .sse: sse
                case .webSocket: webSocket
                }
            if let encoded, !subscriber.queue.push(encoded) {
                forget(subscriber)
                subscriber.drop()
            }
        }
    }

    /// The event in one form, if anybody reads it.
    private func encode(_ format: WireFormat, _ stamp: Stamp, _ event: UnsafeBufferPointer<UInt8>) -> EventBytes? {
        if readersByFormat[Int(format.rawValue)] == 0 { return nil }
        let channel = self.channel
        let count = EventEncoder.byteCount(format, stamp: stamp, channel: channel.span, event: event.span)
        return EventBytes(count: count) {
            EventEncoder.encode(format, stamp: stamp, channel: channel.span, event: event.span, into: $0)
        }
    }

    private func forget(_ subscriber: Subscriber) {
        guard let place = subscriber.place else { return }
        subscriber.place = nil
        readersByFormat[Int(subscriber.format.rawValue)] -= 1
        let last = subscribers.removeLast()
        if last !== subscriber {
            subscribers[place] = last
            last.place = place
        }
    }
}
